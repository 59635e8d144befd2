# SPDX-License-Identifier: Apache-2.0
"""How much of what a node's links carried was counted, from its footprint alone.

Enters: a footprint. Leaves: a share. Pure.
"""

from __future__ import annotations

from typing import Final

from footprint.models import LinkRates, NodeFootprint

MEASURABLE: Final = 1e6
"""bit/s on the links below which a share says nothing: untracked management traffic dominates there."""


def coverage(found: NodeFootprint) -> float | None:
    """Bytes counted over bytes that the links carried, 0-1, in the direction that carries more; None where too
    little is carried to tell. Pods that were left out of the annotation lower it."""
    used = sum((link.used for link in found.uplinks), LinkRates()) if found.uplinks else found.used
    if used.busier < MEASURABLE:
        return None
    counted = sum((LinkRates(pod.tx, pod.rx) for pod in found.pods), found.host + found.un)
    part = counted.tx / used.tx if used.tx >= used.rx else counted.rx / used.rx
    return min(part, 1.0)
