# SPDX-License-Identifier: Apache-2.0
"""What stands on the screen: rows in order, and lines that fit. Pure.

Enters: nodes, a State, the terminal's size. Leaves: lines of styled text, none wider than the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.cells import cell_len, set_cell_size

from footprint.text import visible
from plugin.listing.columns import NODES, Pod, pods_kind
from plugin.listing.gathering import Node
from plugin.output.listing import Column, Kind, ordered
from plugin.terminal import Styled
from plugin.top.state import ELEPHANTS_FIRST, HELP, State, View

PODS: Final = pods_kind(all_namespaces=True)
KINDS: Final[dict[View, Kind[Any]]] = {View.PODS: PODS, View.NODES: NODES}
GAP: Final = "  "
FRAME: Final = 4
"""Lines that hold no row: the head, the choices, the columns' names, the keys."""
KEYS: Final = "p pods  n nodes  <> sort  r reverse  / filter  c class  space hold  h help  q quit"
_BAR: Final = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of the cluster at one moment."""

    server: str
    nodes: Sequence[Node]
    trouble: str = ""
    """Why it may be old; empty when it is not."""


def sortable(view: View) -> list[str]:
    """What a view can be sorted by."""
    return [column.name for column in KINDS[view].columns if column.key is not None and not column.wide]


def rows_of(picture: Picture, state: State, namespace: str | None = None) -> list[Any]:
    """The rows that ``state`` means, in its order: Node or Pod."""
    if state.view is View.NODES:
        rows: list[Any] = list(picture.nodes)
    else:
        rows = [
            Pod(pod, node)
            for node in picture.nodes
            for pod in (node.published.footprint.pods if node.published.footprint else ())
            if namespace in (None, pod.ns) and state.cls in (None, pod.cls)
        ]
    kind = KINDS[state.view]
    if state.text:
        wanted = state.text.lower()
        rows = [row for row in rows if any(wanted in column.text(row).lower() for column in kind.columns)]
    if state.sort_by == ELEPHANTS_FIRST:
        rows.sort(key=_elephants, reverse=True)
    else:
        rows = ordered(rows, kind, state.sort_by)
    return rows[::-1] if state.reversed else rows


def _elephants(row: Any) -> tuple[float, float]:
    if isinstance(row, Pod):
        return row.pod.elephants.busier, row.pod.busier
    found = row.published.footprint
    return (-1.0, 0.0) if found is None else (found.elephant_utilisation or 0.0, found.el.busier)


Line = list[Styled]


def screen(
    picture: Picture, state: State, rows: Sequence[Any], *, clock: str, width: int, height: int
) -> list[Line]:
    """All lines, from the top."""
    if state.helping:
        return [_cut(line, width) for line in _help()][:height]
    body = _table(rows[state.top : state.top + max(height - FRAME, 0)], state)
    lines = [_head(picture, clock), _choices(picture, state, len(rows)), *_scrolled(body, state.left)]
    lines = lines[: height - 1]
    lines += [[] for _ in range(height - 1 - len(lines))]
    return [_cut(line, width) for line in [*lines, _foot(state)]][:height]


def _head(picture: Picture, clock: str) -> Line:
    pods = Counter(
        str(pod.cls)
        for node in picture.nodes
        for pod in (node.published.footprint.pods if node.published.footprint else ())
    )
    silent = sum(node.published.footprint is None for node in picture.nodes)
    stale = sum(node.freshness == "stale" for node in picture.nodes)
    lacks = [f"{silent} without a footprint"] if silent else []
    lacks += [f"{stale} stale"] if stale else []
    told = f"{len(picture.nodes)} nodes" + (f" ({', '.join(lacks)})" if lacks else "")
    counts = ", ".join(f"{count} {cls}" for cls, count in pods.most_common())
    line = [Styled(f"{clock}{GAP}{picture.server}{GAP}", ""), Styled(told, "yellow" if lacks else "")]
    return [*line, Styled(f"{GAP}{sum(pods.values())} pods" + (f": {counts}" if counts else ""), "")]


def _choices(picture: Picture, state: State, count: int) -> Line:
    by = state.sort_by or "elephant traffic"
    told = [f"{count} {state.view}", f"by {by}{', reversed' if state.reversed else ''}"]
    told += [f"class {state.cls}"] if state.cls is not None and state.view is View.PODS else []
    told += [f"with {state.text!r}"] if state.text else []
    told += ["held"] if state.held else []
    line = [Styled(", ".join(told), "bold")]
    return [*line, Styled(f"{GAP}{picture.trouble}", "red")] if picture.trouble else line


def _foot(state: State) -> Line:
    if state.typing:
        return [Styled(f"filter: {state.text}_{GAP}(Enter keeps it, Escape drops it)", "bold")]
    return [Styled(KEYS, "reverse")]


def _help() -> Iterator[Line]:
    yield [Styled("Keys", "bold")]
    for keys, what in HELP:
        yield [Styled(f"  {keys:<20}", "bold"), Styled(what, "")]
    yield [Styled("Any key goes back.", "")]


def bar(part: float) -> str:
    """A share of 0-1 as a bar."""
    filled = round(min(max(part, 0.0), 1.0) * _BAR)
    return "#" * filled + "." * (_BAR - filled)


def _cell(row: Any, column: Column[Any]) -> Styled:
    text = column.text(row)
    if isinstance(row, Node) and column.head == "ELEPHANTS" and row.published.footprint is not None:
        text = f"{bar(row.published.footprint.elephant_utilisation or 0.0)} {text}"
    return Styled(visible(text), column.style(row) if column.style is not None else "")


def _table(rows: Iterable[Any], state: State) -> list[Line]:
    columns = [column for column in KINDS[state.view].columns if not column.wide]
    cells = [[_cell(row, column) for column in columns] for row in rows]
    widths = [
        max([cell_len(column.head), *(cell_len(line[at].text) for line in cells)])
        for at, column in enumerate(columns)
    ]
    head = [
        Styled(
            set_cell_size(column.head, size) + GAP,
            "reverse" if column.name == state.sort_by else "bold",
        )
        for column, size in zip(columns, widths, strict=True)
    ]
    return [head] + [
        [Styled(set_cell_size(cell.text, size) + GAP, cell.style) for cell, size in zip(line, widths, strict=True)]
        for line in cells
    ]


def _scrolled(lines: Iterable[Line], left: int) -> Iterator[Line]:
    for line in lines:
        skipped, kept = left, list[Styled]()
        for part in line:
            size = cell_len(part.text)
            if skipped >= size:
                skipped -= size
                continue
            kept.append(Styled(part.text[skipped:], part.style))
            skipped = 0
        yield kept


def _cut(line: Line, width: int) -> Line:
    """``line`` up to the terminal's edge."""
    fitting, left = list[Styled](), width
    for part in line:
        size = cell_len(part.text)
        if size > left:
            fitting.append(Styled(set_cell_size(part.text, left), part.style))
            break
        fitting.append(part)
        left -= size
    return fitting
