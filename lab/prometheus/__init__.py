# SPDX-License-Identifier: Apache-2.0
"""Prometheus and Grafana as operators use them: programs, rules, dashboards."""
