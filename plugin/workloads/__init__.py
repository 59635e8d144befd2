# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint workloads``: what is known of each workload, and how to correct or forget it.

Enters: TrafficFootprint objects. Leaves: a row for each. ``state`` patches its ``spec``, and ``forget`` makes its
deletion.
"""
