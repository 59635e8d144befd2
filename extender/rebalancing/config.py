# SPDX-License-Identifier: Apache-2.0
"""The rebalancer's mode, prices and limits: plain values, made from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from extender.placement.policy import Policy
from footprint.keys import DEFAULT_NAMESPACE


class RebalanceMode(StrEnum):
    """What may be done about pods that stand wrong."""

    OFF = "off"  # nothing is looked at
    ADVISE = "advise"  # says which pods it would move, and evicts none
    ACT = "act"  # evicts pods that opted in


@dataclass(frozen=True, slots=True)
class RebalanceConfig:
    """See ``extender.settings`` for why each default. Times are seconds."""

    mode: RebalanceMode = RebalanceMode.OFF
    interval: float = 30.0
    """Between two looks at the cluster."""
    restart_cost: float = 4.0
    """Gain that a move must have, in service times (``extender.model.cost``)."""
    sustain: float = 300.0
    """For how long a move must have been worth it, before the pod's own patience (``history.patience``)."""
    cooldown: float = 1800.0
    """For how long a workload is left alone after one of its pods was moved, and a pod after it was made."""
    per_minute: float = 1.0
    """Evictions in the long run."""
    node_interval: float = 300.0
    """Between two moves that have a node in common, as source or as target."""
    pending_limit: float = 120.0
    """For how long a moved workload's pods may be pending before everything stops."""
    halt: float = 900.0
    """For how long it stays stopped then."""
    schedulers: tuple[str, ...] = ()
    """Names of the schedulers that ask this extender; empty: all of them do."""
    namespace: str = DEFAULT_NAMESPACE
    """The release's own. Its pods stay, and its annotation is the kill switch."""
    policy: Policy = field(default_factory=Policy)
    """How placement acts: where it never acts on a pod, a move gains nothing."""

    @property
    def mode_now(self) -> RebalanceMode:
        """In shadow mode nothing steers a moved pod, so nothing is moved."""
        advises = self.mode is RebalanceMode.ACT and self.policy.shadow
        return RebalanceMode.ADVISE if advises else self.mode
