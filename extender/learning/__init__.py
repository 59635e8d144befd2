# SPDX-License-Identifier: Apache-2.0
"""Remember in TrafficFootprint objects what workloads do to the network, beyond their pods' lives.

Enters: the workloads' totals from ``cluster``. Leaves: TrafficFootprint objects, written by one elected replica.
May import ``cluster`` and ``model``.
"""
