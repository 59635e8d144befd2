# SPDX-License-Identifier: Apache-2.0
"""From readings to footprints: rates, classes, the link's coverage, and when to read next.

Enters: a flow source's readings, the node's pods and link. Leaves: ``NodeFootprint`` values. ``meter`` has the
effects of one reading; the other modules are pure. May import ``node`` and ``sources.base``.
"""
