# SPDX-License-Identifier: Apache-2.0
"""Whether a pod may be moved at all. Pure.

Enters: the pod in full, what its namespace and its node say, and the configuration. Leaves: the reason against a
move, or None. When in doubt there is a reason.
"""

from __future__ import annotations

from typing import Final

from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from extender.rebalancing.gain import Reason
from extender.rebalancing.history import Wait
from extender.rebalancing.objects import PodInFull
from footprint.declared import Rebalance

_BY_THEIR_NODE: Final = {
    "DaemonSet": "a DaemonSet's pods have their nodes given",
    "Node": "a static pod belongs to its node",
    "VirtualMachineInstance": "a virtual machine moves by its own migration",
}
_SYSTEM: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def unmovable(
    pod: PodInFull, *, expected_node: str, namespace: Rebalance | None, node: Rebalance | None,
    config: RebalanceConfig,
) -> Wait | None:  # fmt: skip
    """Why ``pod`` may not be moved; None when it may. ``namespace`` and ``node`` are what these say."""
    if Rebalance.NEVER in (pod.rebalance, namespace, node):
        who = "the pod" if pod.rebalance is Rebalance.NEVER else "its namespace"
        return Wait(Reason.OPTED_OUT, f"{who if node is not Rebalance.NEVER else 'its node'} says never")
    return (
        _place_given(pod, config) or _doubtful(pod, expected_node, config) or _not_opted_in(pod, namespace, config)
    )


def _place_given(pod: PodInFull, config: RebalanceConfig) -> Wait | None:
    if pod.ns in _SYSTEM or pod.ns == config.namespace:
        return Wait(Reason.EXEMPT, f"pods of {pod.ns} stay where they are")
    if pod.mirror or not pod.owner or pod.owner in _BY_THEIR_NODE:
        why = _BY_THEIR_NODE.get("Node" if pod.mirror else pod.owner, "no controller would make it again")
        return Wait(Reason.BOUND_TO_PLACE, why)
    if pod.held:
        return Wait(Reason.BOUND_TO_PLACE, f"its volumes may be on this node alone: {', '.join(pod.held)}")
    if pod.scratch and pod.rebalance is not Rebalance.ALLOW:
        return Wait(Reason.BOUND_TO_PLACE, "a move empties its emptyDir; the pod itself must say allow")
    if pod.owner == "Job" and pod.rebalance is not Rebalance.ALLOW:
        return Wait(Reason.BOUND_TO_PLACE, "a Job's pod loses its work; the pod itself must say allow")
    return None


def _doubtful(pod: PodInFull, expected_node: str, config: RebalanceConfig) -> Wait | None:
    if pod.ended or pod.deleting or pod.node != expected_node:
        return Wait(Reason.IN_DOUBT, "it has ended, ends or is elsewhere by now")
    if not pod.ready:
        return Wait(Reason.IN_DOUBT, "it is not ready: a move would hide why")
    if config.schedulers and pod.scheduler not in config.schedulers:
        return Wait(Reason.NOT_STEERED, f"scheduler {pod.scheduler} does not ask the extender")
    if pod.doubts:
        return Wait(Reason.IN_DOUBT, f"not evaluated here: {', '.join(pod.doubts)}")
    return None


def _not_opted_in(pod: PodInFull, namespace: Rebalance | None, config: RebalanceConfig) -> Wait | None:
    """Advice needs no consent: it tells what opting in would bring."""
    if config.mode_now is not RebalanceMode.ACT or Rebalance.ALLOW in (pod.rebalance, namespace):
        return None
    return Wait(Reason.NOT_OPTED_IN, "neither the pod nor its namespace says allow")
