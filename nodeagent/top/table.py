# SPDX-License-Identifier: Apache-2.0
"""A view as tables for a terminal; pure (rich draws them later).

Names come from files and clusters: they are put in as plain text, never read as markup.
"""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from footprint.classes import TrafficClass
from nodeagent.top import formatting, lines
from nodeagent.top.view import View

_AROUND: Final = 13
"""Lines that may be there besides rows and notes: four of heading; blank, title, column heads and a count of the
rest of two tables; and the last one, where the cursor waits."""
_LEAST_ROWS: Final = 2
_STYLES: Final = {TrafficClass.ELEPHANT: "red", TrafficClass.MIXED: "yellow", TrafficClass.MOUSE: "green"}


def render(view: View, width: int, height: int) -> Group:
    """Fits ``width`` columns and ``height`` lines: the rest of a table that is too long is only counted."""
    notes = [Text(f"lost: {lines.losses(view)}", "yellow")] if view.lost else []
    notes += [Text(f"note: {note}", "yellow") for note in view.notes]
    room = max(height - _AROUND - sum(-(-len(note) // width) for note in notes), 2 * _LEAST_ROWS)
    for_elephants = min(len(view.elephants), max(room // 2, room - len(view.owners)))
    parts: list[RenderableType] = [
        Text(lines.link(view), "bold"),
        *map(Text, lines.use(view)),
        Text(f"{lines.health(view)}, {view.time}", "dim"),
        *_elephants(view, for_elephants),
        *_owners(view, room - for_elephants),
        *notes,
    ]
    return Group(*parts)


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, expand=False)
    for name in left:
        table.add_column(name, header_style="dim", no_wrap=True, overflow="ellipsis")
    for name in right:
        table.add_column(name, header_style="dim", justify="right", no_wrap=True, overflow="ellipsis")
    return table


def _more(count: int) -> list[RenderableType]:
    return [Text(f"... and {count} more", "dim")] if count > 0 else []


def _elephants(view: View, rows: int) -> list[RenderableType]:
    if not view.elephants:
        return [Text("\nno elephants", "bold")]
    table = _table("\nelephants", ("owner", "source", "destination", "proto"), ("rate", "carried", "age"))
    for flow in view.elephants[:rows]:
        owners = ", ".join(flow.owners) + (" (inside)" if flow.local else "")
        cells = (owners, flow.source, flow.destination, flow.protocol)
        figures = (formatting.rate(flow.rate), formatting.size(flow.carried), formatting.age(flow.age))
        table.add_row(*map(Text, (*cells, *figures)))
    return [table, *_more(len(view.elephants) - rows)]


def _owners(view: View, rows: int) -> list[RenderableType]:
    right = ("tx", "rx", "elephants tx / rx", "new flows", "mice")
    table = _table("\nowners", ("owner", "class"), right)
    for row in view.owners[:rows]:
        figures = (
            formatting.rate(row.rates.tx), formatting.rate(row.rates.rx), formatting.pair(row.elephants),
            formatting.per_second(row.new_flows), formatting.share(row.mice_share),
        )  # fmt: skip
        table.add_row(Text(row.name), Text(row.cls, _STYLES.get(row.cls, "")), *map(Text, figures))
    return [table, *_more(len(view.owners) - rows)]
