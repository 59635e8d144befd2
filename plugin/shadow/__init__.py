# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint shadow``: what an extender in shadow mode has seen, and what switching it on would gain.

Enters: the report of a running extender, by its URL or through the API server's service proxy. Leaves: a table, or
the report as JSON. Reads only. Each replica counts for itself, and the report is one replica's.
"""
