# SPDX-License-Identifier: Apache-2.0
"""Values and arithmetic: pods, demand, cost, pods that are not measured yet, and the snapshot made of them.

Enters: decoded objects of the API and ``now``. Leaves: immutable values. May import ``footprint`` only; pure.
"""
