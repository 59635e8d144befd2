# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint``: what the cluster published and what the extender would say, on a terminal.

Enters: a kubeconfig or a saved cluster. Leaves: tables and JSON. May import ``footprint`` and the extender's
``model``, ``cluster`` and ``placement``; never its HTTP server.
"""
