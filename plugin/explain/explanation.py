# SPDX-License-Identifier: Apache-2.0
"""A verdict for people.

Enters: the explanation of one pod, as the extender's ``/explain`` returns it. Leaves: lines about the pod and a
row for each node, the best node first. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group

from plugin.terminal import below, line, table

_HEAD: Final = ("NODE", "SCORE", "PASSES", "WAITING", "HARM", "SLOWDOWN", "ROOM", "WHY")
_TERMS: Final = ("waiting", "harm", "slowdown", "room")

Told = Mapping[str, Any]


def rendered(told: Told) -> Group:
    """The verdict as text."""
    rows = (_row(name, node) for name, node in sorted(told["nodes"].items(), key=_rank))
    return below(*map(line, _lines(told)), table(_HEAD, rows))


def _lines(told: Told) -> Iterator[str]:
    pod, record = told["pod"], told["traffic_footprint"]
    yield f"{pod['namespace']}/{pod['name']}, workload {pod['workload']}: {told['demand']['text']}"
    if "settings" in told:
        yield f"not by default: {', '.join(_flag(*setting) for setting in told['settings'].items())}"
    yield f"placement {told['placement']}" + (f": {pod['exempt']}" if pod["exempt"] else "")
    if pod["node"]:
        yield f"runs on {pod['node']}, which is shown as it would be without this pod"
    if record is not None:
        yield f"TrafficFootprint {record['name']}: {_record(record)}"
    yield from told["problems"]
    if told["mice_free_links_scarce"]:
        yield "links without mice are scarce: mice are kept together"
    if (chosen := told["committed_to"]) is not None:
        yield f"committed to {chosen}: one of the nodes that suit it best, so that the next pod knows"


def _flag(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    return f"--no-{flag}" if value is False else f"--{flag} {value}"


def _record(record: Told) -> str:
    """What people stated, and what is remembered, in one line."""
    stated = ", ".join(f"{field} {value}" for field, value in record["spec"].items() if value is not None)
    parts = [stated and f"spec: {stated}", record["status"] or "no status yet"]
    parts += [f"{part} not understood" for part in record["malformed"]]
    return "; ".join(part for part in parts if part)


def _rank(item: tuple[str, Told]) -> tuple[int, str]:
    """The best first, the rejected last."""
    name, node = item
    return (1 if node["score"] is None else -node["score"], name)


def _row(name: str, node: Told) -> list[str]:
    cost = node.get("cost") or {}
    terms = [f"{cost[term]:.2f}" if cost else "-" for term in _TERMS]
    why = node.get("unsuitable") or node.get("load") or f"{node['state']}: {node['why']}"
    score = (
        "-" if node["score"] is None else str(node["score"])
    )  # kube-scheduler asks for no score of the rejected
    return [name, score, "yes" if node["passes"] else "no", *terms, why]
