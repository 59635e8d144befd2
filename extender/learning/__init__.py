# SPDX-License-Identifier: Apache-2.0
"""Write what was learned of workloads into TrafficFootprint objects, so that it outlives their pods.

Enters: the workloads' totals from ``cluster``. Leaves: TrafficFootprint objects, written by one elected replica.
The learned fields themselves are in ``model.profile`` and ``model.trafficfootprint``. May import ``cluster`` and
``model``.
"""
