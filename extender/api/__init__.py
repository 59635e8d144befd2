# SPDX-License-Identifier: Apache-2.0
"""From HTTP requests to responses: kube-scheduler's wire protocol, routes, explanations, metrics.

Enters: requests. Leaves: responses made of the current snapshot. May import ``placement``, ``cluster``,
``model``, and from ``serving`` its limits and arrival times.
"""
