# SPDX-License-Identifier: Apache-2.0
"""The scheduler extender: it answers kube-scheduler's filter and prioritize requests.

The folders from the bottom up: ``model`` (values), ``cluster`` (what the API shows), ``placement`` (verdicts),
``learning`` (what is kept of workloads), ``api`` (HTTP routes), ``serving`` (sockets). ``run`` puts them together.
"""
