# SPDX-License-Identifier: Apache-2.0
"""The cells of the matrix, and what the traffic programs printed during each: pure.

Enters: JSON lines of mice and elephants, and windows of the machine's monotonic clock. Leaves: latencies and
goodput of each cell, and the table. A cell without any response, or without an elephant's figure, raises
ValueError: it is never a row of zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson
from rich.table import Table

from lab.traffic.histogram import merge, quantile

QDISCS: Final = {
    "FIFO": "bfifo limit 1500000b", "pfifo_fast": "pfifo_fast", "fq_codel": "fq_codel", "fq": "fq",
}  # fmt: skip
"""The queue of a node's uplink, as ``tc`` takes it. The FIFO holds 1000 full-size packets."""
EGRESS: Final = "egress"
RECEIVER: Final = "receiver"
BOTTLENECKS: Final = {
    EGRESS: "elephants send: they wait in their own node's queue",
    RECEIVER: "elephants receive: they wait in the switch's queue before the node",
}
DEFAULT: Final = "default"
OURS: Final = "ours"
FLOOR: Final = "floor"
"""No elephant runs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination."""

    bottleneck: str
    qdisc: str
    placement: str
    tuned: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds of the monotonic clock during which one cell was set up."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a cell's mice and elephants got. Latencies in milliseconds, goodput in bit/s of all elephants."""

    p50: float
    p99: float
    p999: float
    answered: int
    goodput: float
    mixed: int
    """Nodes with mice and elephants."""


def lines(log: str) -> list[dict[str, Any]]:
    """The JSON objects in a program's output; a line cut short is left out."""
    found = []
    for line in log.splitlines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def answered(log: str, window: Window) -> dict[int, int]:
    """A mouse's latencies, by bucket, of what was answered within ``window``; in whole lines of its output."""
    slices, since = [], None
    for line in lines(log):
        if "recent" in line:
            if since is not None and since >= window.begin and line["monotonic"] <= window.end:
                slices.append(line["recent"])
            since = line["monotonic"]
    return merge(slices)


def goodput(log: str, window: Window) -> float:
    """bit/s that an elephant's far end acknowledged within ``window``. Raises ValueError without two readings."""
    inside = [
        (line["monotonic"], line["progress"])
        for line in lines(log)
        if line.get("started") is True and window.begin <= line["monotonic"] <= window.end
    ]
    if len(inside) < 2:
        raise ValueError("an elephant has printed no two figures in a window; use more --seconds")
    (began, first), (ended, last) = inside[0], inside[-1]
    return float((last - first) * 8 / (ended - began))


def figures(mice: Iterable[str], elephants: Iterable[str], window: Window, mixed: int) -> Figures:
    """Of one cell, from its programs' output. Raises ValueError."""
    latencies = merge(answered(log, window) for log in mice)
    if not latencies:
        raise ValueError("no mouse was answered in a window; the pods' logs say why (--keep FOLDER)")
    p50, p99, p999 = ((quantile(latencies, share) or 0.0) / 1000 for share in (0.5, 0.99, 0.999))
    carried = sum(goodput(log, window) for log in elephants)
    return Figures(p50, p99, p999, sum(latencies.values()), carried, mixed)


def table(found: Mapping[Cell, Figures], floor: Figures) -> Table:
    """A row for each queue, with a group of columns for each placement."""
    shown = Table(title="mice: p50 / p99 / p99.9 in ms; elephants: Mbit/s in all", title_justify="left")
    kinds = sorted({(cell.placement, cell.tuned) for cell in found})
    for name in ("bottleneck", "queue", *(kind_name(*kind) for kind in kinds)):
        shown.add_column(name)
    for bottleneck in dict.fromkeys(cell.bottleneck for cell in found):
        for qdisc in dict.fromkeys(cell.qdisc for cell in found):
            cells = [found.get(Cell(bottleneck, qdisc, *kind)) for kind in kinds]
            shown.add_row(bottleneck, qdisc, *(_cell(each) for each in cells))
    shown.add_row(FLOOR, "FIFO", _cell(floor), *[""] * (len(kinds) - 1))
    return shown


def kind_name(placement: str, tuned: bool) -> str:
    """Of a column."""
    return f"{placement}, tuned" if tuned else placement


def as_json(found: Mapping[Cell, Figures], floor: Figures) -> dict[str, object]:
    """Every figure, unrounded."""
    return {"floor": asdict(floor), "cells": [{**asdict(cell), **asdict(each)} for cell, each in found.items()]}


def from_json(told: Mapping[str, Any]) -> tuple[dict[Cell, Figures], Figures]:
    """The reverse of ``as_json``."""
    names = tuple(Cell.__dataclass_fields__)
    found = {
        Cell(**{name: each[name] for name in names}): Figures(
            **{name: value for name, value in each.items() if name not in names}
        )
        for each in told["cells"]
    }
    return found, Figures(**told["floor"])


def mixed_nodes(mice: Sequence[str], elephants: Sequence[str]) -> int:
    """How many nodes are in both lists."""
    return len(set(mice) & set(elephants))


def _cell(each: Figures | None) -> str:
    if each is None:
        return ""
    carried = f"; {each.goodput / 1e6:.0f}" if each.goodput else ""
    return f"{each.p50:.2f} / {each.p99:.1f} / {each.p999:.1f}{carried}"
