# SPDX-License-Identifier: Apache-2.0
"""Sockets: listening, TLS, limits on connections, the port for metrics, graceful shutdown.

Enters: an ASGI application. Leaves: bytes on connections. Imports no other folder of the extender: it does not
know what is served.
"""
