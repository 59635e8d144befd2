# SPDX-License-Identifier: Apache-2.0
"""The scheduler extender: it answers kube-scheduler's filter and prioritize requests.

The folders from the bottom up: ``model`` (values), ``cluster`` (what the API shows), ``placement`` (filter and
scores), ``learning`` (when TrafficFootprints are written), ``serving`` (sockets and ports), ``api`` (HTTP routes).
``run`` puts them together, and opens the ports.
"""
