# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint nodes`` and ``pods``: what the nodes published.

Enters: the API server's Nodes and Leases. Leaves: a row for each node, or for each measured pod. Reads only.
"""
