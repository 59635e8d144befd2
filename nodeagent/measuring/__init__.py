# SPDX-License-Identifier: Apache-2.0
"""Counters to footprints: rates, classes, coverage, and when to read next.

Enters: a source's cumulative counters and ``now``. Leaves: ``footprint.models.NodeFootprint``. Pure, except
``meter``, which asks the source and the link. May import ``node`` and ``sources.base``.
"""
