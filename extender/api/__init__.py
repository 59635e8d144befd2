# SPDX-License-Identifier: Apache-2.0
"""HTTP requests to answers: kube-scheduler's wire protocol, routes, explanations, metrics.

Enters: requests. Leaves: responses made of the current snapshot. May import ``placement``, ``cluster``, ``model``.
"""
