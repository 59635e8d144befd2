# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint``: what the nodes published and what the extender would say, on a terminal.

Enters: a kubeconfig or a saved cluster. Leaves: tables and JSON. May import ``footprint`` and the extender's
``model``, ``cluster``, ``placement`` and ``settings``; never its HTTP server or its learner.
"""
