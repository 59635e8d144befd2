# SPDX-License-Identifier: Apache-2.0
"""Values and arithmetic: pods, demand, every term of the cost, learned profiles, and the snapshot made of them.

Enters: decoded objects of the API and ``now``. Leaves: immutable values. May import ``footprint`` only; pure.
"""
