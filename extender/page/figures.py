# SPDX-License-Identifier: Apache-2.0
"""What is shown of nodes, workloads and the whole cluster, as plain values.

Enters: views, footprints, demands and records as the extender has them. Leaves: rows and dicts for JSON. Pure.
Rates in rows are kbit/s. Texts are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from extender.model.demand import Demand, Tally
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import NodeView
from extender.model.trafficfootprint import Record
from extender.page.decisions import cut
from extender.page.history import code_share
from extender.placement.node_verdict import MOUSE_LIMIT
from footprint.coverage import coverage
from footprint.models import LinkRates, NodeFootprint, PodFootprint

COLUMNS: Final = (
    "name", "group", "state", "cap_tx", "cap_rx", "used_tx", "used_rx", "el_tx", "el_rx", "elephants", "mice",
    "predicted", "collides",
)  # fmt: skip
"""Of a node's row. ``used``: all traffic. ``el``: elephants, with those that are predicted. ``elephants``,
``mice``: pods."""
MAX_PODS: Final = 1000
"""Pods of one node that are shown."""


def _k(rate: float) -> int:
    return round(rate / 1e3)


def used(view: NodeView, said: NodeFootprint | None) -> LinkRates:
    """All that the node's link carries, bit/s: by the interface's own counters, and no less than its elephants."""
    own = said.used if said is not None else LinkRates()
    return LinkRates(max(own.tx, view.link.tx), max(own.rx, view.link.rx))


def collides(view: NodeView) -> bool:
    """Mice live on a link that elephants use to half or more."""
    return view.known and view.mouse_pods > 0 and view.firm.utilisation >= MOUSE_LIMIT


def row(view: NodeView, said: NodeFootprint | None, group: str) -> list[str | int]:
    """The node's row (``COLUMNS``)."""
    link, all_ = view.link, used(view, said)
    return [
        cut(view.name), group, view.state.value, _k(link.cap_tx), _k(link.cap_rx), _k(all_.tx), _k(all_.rx),
        _k(link.tx), _k(link.rx), link.elephants, view.mouse_pods, view.ledger.pods, int(collides(view)),
    ]  # fmt: skip


def history_codes(view: NodeView, said: NodeFootprint | None) -> tuple[int, int, int, int]:
    """All traffic and elephants, of both directions, as shares of the link (``history.code_share``)."""
    link = view.link
    if not view.known:
        return (255, 255, 255, 255)
    all_ = used(view, said)
    return (
        code_share(all_.tx, link.cap_tx), code_share(all_.rx, link.cap_rx),
        code_share(link.tx, link.cap_tx), code_share(link.rx, link.cap_rx),
    )  # fmt: skip


def _pod(pod: PodFootprint) -> dict[str, Any]:
    return {
        "namespace": cut(pod.ns), "name": cut(pod.name), "workload": cut(pod.wl), "class": pod.cls.value,
        "tx": pod.tx, "rx": pod.rx, "el_tx": pod.etx, "el_rx": pod.erx, "flows": pod.el, "new_flows": pod.nf,
        "mice_share": pod.ms,
    }  # fmt: skip


def node(
    view: NodeView, said: NodeFootprint | None, group: str, bound: Iterable[PodInfo]
) -> dict[str, Any]:  # fmt: skip
    """Everything of one node but its history."""
    shown: dict[str, Any] = {
        "name": cut(view.name), "group": group, "state": view.state.value, "why": view.detail[:500],
        "row": row(view, said, group), "load": view.load, "capacity_by": view.capacity_by, "sure": view.sure,
        "full": list(view.full), "guessed": list(view.guessed), "predicted": view.ledger.pods,
        "collides": collides(view),
    }  # fmt: skip
    pods: list[dict[str, Any]] = []
    if said is not None:
        busiest = sorted(said.pods, key=lambda pod: -(pod.tx + pod.rx))
        pods = [_pod(pod) for pod in busiest[:MAX_PODS]]
        shown |= {
            "source": said.src,
            "health": list(said.bad),
            "coverage": None if (covered := coverage(said)) is None else round(covered, 3),
            "left_out": said.cut,
            "host": said.host,
            "unattributed": said.un,
            "local": said.local,
            "ended": len(said.ended),
        }
    measured = {pod.uid for pod in said.pods} if said is not None else set()
    waiting = [pod for pod in bound if pod.uid not in measured and not pod.ended]
    shown["pods"] = pods
    shown["unmeasured"] = [
        {"namespace": cut(pod.ns), "name": cut(pod.name), "workload": cut(pod.workload)}
        for pod in waiting[:MAX_PODS]
    ]
    return shown


class Workload(NamedTuple):
    """One workload as it is ordered."""

    key: WorkloadKey
    rate: float
    shown: dict[str, Any]


def workload(key: WorkloadKey, demand: Demand | None, tally: Tally | None, record: Record | None) -> Workload:
    """What is known of a workload. Rates: elephant bit/s, of all its pods now and of one pod typically."""
    tally, demand = tally or Tally(), demand or Demand()
    profile = record.profile if record is not None else None
    return Workload(key, max(tally.tx, tally.rx), {
        "namespace": cut(key[0]), "workload": cut(key[1]), "class": demand.cls.value,
        "origin": demand.origin.value, "text": demand.describe(), "tx": tally.tx, "rx": tally.rx,
        "typical_tx": demand.tx, "typical_rx": demand.rx,
        "mice": demand.mice, "pods": tally.running, "confidence": profile.confidence if profile else None,
        "samples": profile.samples if profile else None, "stated": bool(record and record.overrides),
    })  # fmt: skip


def totals(views: Iterable[NodeView]) -> dict[str, Any]:
    """Sums over all nodes."""
    states: dict[str, int] = {}
    found = {"nodes": 0, "collisions": 0, "beside": 0, "busy": 0, "elephants": 0, "mice": 0}
    for view in views:
        add(found, states, view, 1)
    return {**found, "states": states}


def add(found: dict[str, int], states: dict[str, int], view: NodeView, sign: int) -> None:
    """Count ``view`` in, or out. ``beside``: pods with mice on links that elephants use to half or more."""
    state = view.state.value
    states[state] = states.get(state, 0) + sign
    found["nodes"] += sign
    found["elephants"] += sign * view.link.elephants
    found["mice"] += sign * view.mouse_pods
    if view.known and view.firm.utilisation >= MOUSE_LIMIT:
        found["busy"] += sign
        if view.mouse_pods > 0:
            found["collisions"] += sign
            found["beside"] += sign * view.mouse_pods
