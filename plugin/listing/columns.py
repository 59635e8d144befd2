# SPDX-License-Identifier: Apache-2.0
"""The columns of nodes and of pods, and both in JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from footprint.classes import TrafficClass
from footprint.coverage import coverage
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from footprint.summary import elephant_share
from footprint.units import format_rate
from plugin.listing.gathering import Node
from plugin.output.listing import Column, Kind, number
from plugin.published import capacity, datapath

_STYLES: Final = {TrafficClass.ELEPHANT: "red", TrafficClass.MIXED: "yellow", TrafficClass.MOUSE: "green"}
_FULL: Final = 75
"""Percent of a link from which its share of elephants is red on a terminal."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One measured pod and the node that measured it."""

    pod: PodFootprint
    node: Node


def _rates(rates: LinkRates) -> dict[str, float]:
    return {"tx": number(rates.tx), "rx": number(rates.rx)}


def _percent(part: float | None) -> str:
    return "?" if part is None else f"{100 * part:.0f} %"


def _classes(pods: Iterable[PodFootprint]) -> str:
    counts = Counter(pod.cls for pod in pods)
    return ", ".join(f"{counts[cls]} {cls}" for cls in TrafficClass if counts[cls]) or "none"


def _health(node: Node) -> str:
    found = node.published.footprint
    if found is None:
        return node.published.problem
    full = [f"link full in {' and '.join(found.full)}"] if found.full else []
    return ", ".join([*full, *found.bad]) or "ok"


def _share(found: NodeFootprint) -> int | None:
    return elephant_share(found) if found.cap.busier or found.full else None


def _flows(found: NodeFootprint) -> tuple[int, float]:
    return sum(pod.el for pod in found.pods), sum(pod.nf for pod in found.pods)


def _covered(found: NodeFootprint | None) -> str:
    part = coverage(found) if found is not None else None
    at_least = ">= " if found is not None and found.cut and part is not None else ""
    return at_least + ("-" if part is None else _percent(part))


def _of(node: Node) -> NodeFootprint | None:
    return node.published.footprint


def _share_text(node: Node) -> str:
    found = _of(node)
    if found is None:
        return "-"
    share = _share(found)
    return "?" if share is None else f"{share} %"


def _flows_text(node: Node) -> str:
    found = _of(node)
    if found is None:
        return "-"
    elephants, new = _flows(found)
    return f"{elephants} elephant, {new:.3g} new/s"


def _losses(node: Node) -> str:
    found = _of(node)
    return "-" if found is None else ", ".join(found.bad) or "none"


def _share_style(node: Node) -> str:
    found = _of(node)
    return "red" if found is not None and (_share(found) or 0) >= _FULL else ""


def _seen_style(node: Node) -> str:
    return "" if node.freshness == "fresh" else "yellow"


_SEEN: Final = Column[Node]("LEASE", lambda node: node.seen, key=lambda node: node.age, style=_seen_style)


def _uplinks(node: Node) -> list[list[str]]:
    found = _of(node)
    return [
        [
            f"└ {link.name}", _percent(link.elephant_utilisation), capacity(link) or "capacity unknown", "", "",
            f"full in {' and '.join(link.full)}" if link.full else "", "",
        ]
        for link in (found.uplinks if found else ())
    ]  # fmt: skip


def _node_object(node: Node) -> dict[str, Any]:
    found = _of(node)
    heard = {
        "freshness": node.freshness, "renewed": node.heartbeat.renewed if node.heartbeat else None,
        "ageSeconds": None if node.age is None else round(node.age, 1),
    }  # fmt: skip
    whole: dict[str, Any] = {"metadata": {"name": node.name}, "heartbeat": heard}
    if found is None:
        return {**whole, "problem": node.published.problem}
    part, (elephants, new) = coverage(found), _flows(found)
    return {
        **whole,
        "elephantShare": _share(found), "link": _link_object(found, found.up),
        "uplinks": [_link_object(link, link.name) for link in found.uplinks],
        "classes": dict(Counter(str(pod.cls) for pod in found.pods)),
        "podsLeftOut": found.cut, "elephantFlows": elephants, "newFlowsPerSecond": round(new, 4),
        "host": _rates(found.host), "unattributed": _rates(found.un), "insideNode": number(found.local),
        "source": found.src, "datapath": datapath(found.src),
        "coverage": None if part is None else round(part, 4), "losses": list(found.bad),
    }  # fmt: skip


def _link_object(link: NodeFootprint | Uplink, name: str) -> dict[str, Any]:
    return {
        "name": name, "capacity": _rates(link.cap), "capacityFrom": link.by, "capacityConfidence": link.sure,
        "used": _rates(link.used), "elephants": _rates(link.el), "full": list(link.full),
    }  # fmt: skip


NODES: Final = Kind[Node](
    "NodeTraffic",
    "nodes",
    (
        Column("NODE", lambda node: node.name, key=lambda node: node.name),
        Column(
            "ELEPHANTS", _share_text, key=lambda node: _share(found) if (found := _of(node)) else None,
            style=_share_style,
        ),
        Column(
            "OF LINK", lambda node: capacity(found) or "capacity unknown" if (found := _of(node)) else "-",
            key=lambda node: found.cap.busier if (found := _of(node)) else None,
        ),
        Column(
            "PODS", lambda node: _classes(found.pods) if (found := _of(node)) else "-",
            key=lambda node: len(found.pods) if (found := _of(node)) else None,
        ),
        Column("SOURCE", lambda node: found.src if (found := _of(node)) else "-",
               key=lambda node: found.src if (found := _of(node)) else None),
        Column("HEALTH", _health, key=_health, style=lambda node: "" if _health(node) == "ok" else "yellow"),
        _SEEN,
        Column("COVERAGE", lambda node: _covered(_of(node)), wide=True,
               key=lambda node: coverage(found) if (found := _of(node)) else None),
        Column("DATAPATH", lambda node: datapath(found.src) if (found := _of(node)) else "-", wide=True),
        Column("FLOWS", _flows_text, wide=True,
               key=lambda node: _flows(found)[1] if (found := _of(node)) else None),
        Column("LOSSES", _losses, wide=True),
    ),
    reference=lambda node: f"node/{node.name}",
    as_object=_node_object,
    below=_uplinks,
)  # fmt: skip


def _pod_object(row: Pod) -> dict[str, Any]:
    pod, found = row.pod, _of(row.node)
    assert found is not None  # noqa: S101 - a pod stands in a footprint
    part = coverage(found)
    return {
        "metadata": {"name": pod.name, "namespace": pod.ns, "uid": pod.uid},
        "node": row.node.name, "workload": pod.wl, "class": str(pod.cls),
        "tx": number(pod.tx), "rx": number(pod.rx),
        "elephants": _rates(pod.elephants), "elephantFlows": pod.el, "newFlowsPerSecond": pod.nf,
        "miceShare": pod.ms, "freshness": row.node.freshness,
        "ageSeconds": None if row.node.age is None else round(row.node.age, 1), "source": found.src,
        "datapath": datapath(found.src), "coverage": None if part is None else round(part, 4),
        "losses": list(found.bad),
    }  # fmt: skip


def pods_kind(*, all_namespaces: bool) -> Kind[Pod]:
    """As kubectl, a namespace is named where there are several."""
    namespace = Column[Pod]("NAMESPACE", lambda row: row.pod.ns, key=lambda row: row.pod.ns)
    columns: Mapping[bool, tuple[Column[Pod], ...]] = {True: (namespace, *_PODS), False: _PODS}
    return Kind("PodTraffic", "pods", columns[all_namespaces], lambda row: f"pod/{row.pod.name}", _pod_object)


_PODS: Final[tuple[Column[Pod], ...]] = (
    Column("POD", lambda row: row.pod.name, key=lambda row: row.pod.name),
    Column("NODE", lambda row: row.node.name, key=lambda row: row.node.name),
    Column("CLASS", lambda row: str(row.pod.cls), key=lambda row: str(row.pod.cls),
           style=lambda row: _STYLES.get(row.pod.cls, "")),
    Column("TX", lambda row: format_rate(row.pod.tx), key=lambda row: row.pod.tx),
    Column("RX", lambda row: format_rate(row.pod.rx), key=lambda row: row.pod.rx),
    Column("ELEPHANTS", lambda row: str(row.pod.el), key=lambda row: row.pod.el),
    Column("FLOWS/S", lambda row: f"{row.pod.nf:g}", key=lambda row: row.pod.nf),
    Column("WORKLOAD", lambda row: row.pod.wl, key=lambda row: row.pod.wl),
    Column("SEEN", lambda row: row.node.seen, key=lambda row: row.node.age,
           style=lambda row: _seen_style(row.node)),
    Column("ELEPHANT TX", lambda row: format_rate(row.pod.etx), wide=True, key=lambda row: row.pod.etx),
    Column("ELEPHANT RX", lambda row: format_rate(row.pod.erx), wide=True, key=lambda row: row.pod.erx),
    Column("MICE", lambda row: _percent(row.pod.ms), wide=True, key=lambda row: row.pod.ms),
    Column("SOURCE", lambda row: found.src if (found := _of(row.node)) else "-", wide=True),
    Column("DATAPATH", lambda row: datapath(found.src) if (found := _of(row.node)) else "-", wide=True),
    Column("COVERAGE", lambda row: _covered(_of(row.node)), wide=True),
    Column("LOSSES", lambda row: _losses(row.node), wide=True),
)  # fmt: skip
