# SPDX-License-Identifier: Apache-2.0
"""What ``rebalance`` does: asks the rebalancer's own functions about the cluster as it is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from rich.console import Group

from extender.cluster.offline import SavedCluster, StateFileError, read_objects, state_of
from extender.placement.policy import Policy
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from extender.rebalancing.gain import Reason, Refusal
from extender.rebalancing.history import History
from extender.rebalancing.plan import Move, Plan, plan
from extender.rebalancing.reader import Round
from extender.rebalancing.rebalancer import survey_of
from footprint.declared import PlacementMode
from footprint.service import fail
from footprint.token_bucket import TokenBucket
from plugin import state
from plugin.output.flags import form_of
from plugin.output.listing import document
from plugin.rebalance.flags import RebalanceSettings
from plugin.terminal import below, line, quiet_logs, show, table

_HEAD: Final = ("POD", "FROM", "TO", "GAIN", "WHY")
_NO_LIMIT: Final = 1e9
_STAYS: Final = ("POD", "NODE", "REASON", "DETAIL")


class Objects:
    """A ``reader.Source`` of objects that were read before."""

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._pods: dict[str, list[Mapping[str, Any]]] = {}
        self._named: dict[tuple[str, str], Mapping[str, Any]] = {}
        for one in objects:
            kind, spec, metadata = one.get("kind"), one.get("spec"), one.get("metadata")
            if kind == "Pod" and isinstance(spec, Mapping):
                self._pods.setdefault(str(spec.get("nodeName")), []).append(one)
            elif isinstance(metadata, Mapping):
                self._named[str(kind), str(metadata.get("name"))] = one

    def pods_on(self, node: str) -> Iterable[Mapping[str, Any]]:
        return self._pods.get(node, ())

    def node(self, name: str) -> Mapping[str, Any] | None:
        return self._named.get(("Node", name))

    def namespace(self, name: str) -> Mapping[str, Any]:
        return self._named.get(("Namespace", name), {})


def run(settings: RebalanceSettings) -> int:
    """Print the plan. Raises ApiError and ClusterConfigError; a bad file ends the program."""
    try:
        with quiet_logs():
            made = planned(settings)
    except StateFileError as error:
        fail(f"--state {error}")
    form = form_of(settings.output)
    show(rendered(made, settings) if form.is_table else document(as_document(made), form), end=form.end)
    return 0


def planned(settings: RebalanceSettings) -> Plan:
    """The plan of this moment. Raises as ``run``, and StateFileError."""
    found = _objects(settings)
    saved = state_of(SavedCluster(found))
    config = RebalanceConfig(
        RebalanceMode.ACT, restart_cost=settings.restart_cost, namespace=settings.release_namespace,
        policy=Policy(PlacementMode(settings.placement)),
    )  # fmt: skip
    at_once = replace(config, sustain=0.0, cooldown=0.0)
    history = History(budget=TokenBucket(_NO_LIMIT, 0.0))
    reading = Round(Objects(found), config, time.time)
    look = survey_of(saved, config)
    # Nothing is requested for a pod here, so all of them are read.
    return plan(look, history, reading.examine, 0.0, at_once, most=len(look.misplaced))[0]


def _objects(settings: RebalanceSettings) -> list[dict[str, Any]]:
    if settings.state is not None:
        return read_objects(settings.state)
    cluster = settings.reach
    namespaces = [{**one, "kind": "Namespace"} for one in cluster.items("/api/v1/namespaces")]
    return [*state.objects(cluster, lease_namespace=settings.release_namespace, learn=True), *namespaces]


def as_document(made: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    return {
        "troubled_nodes": made.troubled, "misplaced_pods": made.misplaced, "gain": made.gain,
        "moves": [_move(move) for move in made.moves], "stay": [_stays(one) for one in made.refused],
    }  # fmt: skip


def _move(move: Move) -> dict[str, Any]:
    found = move.found
    return {
        "namespace": found.pod.ns, "pod": found.pod.name, "workload": found.pod.workload, "from": found.node,
        "to": move.target, "gain": move.gain, "cost": found.cost, "cost_there": move.cost, "why": found.reason,
    }  # fmt: skip


def _stays(one: Refusal) -> dict[str, Any]:
    pod = one.pod
    return {
        "namespace": pod.ns, "pod": pod.name, "workload": pod.workload, "node": one.node,
        "reason": one.reason.value, "detail": one.detail,
    }  # fmt: skip


def rendered(made: Plan, settings: RebalanceSettings) -> Group:
    """The plan for people."""
    moves = [
        [f"{m.found.pod.ns}/{m.found.pod.name}", m.found.node, m.target, f"{m.gain:.1f}", m.found.reason]
        for m in made.moves
    ]
    stays = [
        [f"{one.pod.ns}/{one.pod.name}", one.node, one.reason.value, one.detail]
        for one in made.refused
        if settings.all_pods or one.reason is not Reason.SUITS
    ]
    told = (
        f"{made.troubled} nodes on which mice wait or transfers slow each other, {made.misplaced} misplaced pods"
    )
    parts = [line(told), line(f"{len(moves)} moves now, which gain {made.gain:.1f} service times")]
    tables = [table(head, rows) for head, rows in ((_HEAD, moves), (_STAYS, stays)) if rows]
    return below(*parts, *tables)
