# SPDX-License-Identifier: Apache-2.0
"""How strongly placement acts: plain values, made from the settings and read by filter and score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extender.model.ledger import HOLD_SECONDS
from footprint.declared import PlacementMode

DEFAULT_RELAX_AFTER: Final = 120.0
"""Seconds."""
DEFAULT_DEADLINE: Final = 0.1
"""Seconds."""
DEFAULT_MAX_IN_FLIGHT: Final = 32


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds where a pod declares nothing else."""

    placement: PlacementMode = PlacementMode.PREFER
    relax_after: float = DEFAULT_RELAX_AFTER
    """Seconds without a node after which a strict pod is placed as with prefer."""
    deadline: float = DEFAULT_DEADLINE
    """Seconds from a request's arrival after which it fails open."""
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    """Requests decided at once; any further one fails open."""
    shadow: bool = False
    """Never act, only count what acting would have done."""
    hold: float = HOLD_SECONDS
    """Seconds that a running pod counts by prediction, and from a bind to its judgement in shadow mode."""
