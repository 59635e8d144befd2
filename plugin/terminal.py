# SPDX-License-Identifier: Apache-2.0
"""Tables and JSON on standard output.

Enters: text from the cluster, which others wrote. Leaves: text on standard output. Guarantees: a terminal never
acts on a character from the cluster, nor on square brackets as markup. Output into a file or a pipe keeps whole
rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from footprint.text import visible, visible_json

WIDEST: Final = 10_000
"""Columns that no table reaches."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table as kubectl prints it."""
    made = Table(*head, box=None)
    for row in rows:
        made.add_row(*map(line, row))
    return made


def line(text: str) -> Text:
    """``text`` as it stands, in one line."""
    return Text(visible(text))


def below(*parts: RenderableType) -> Group:
    """``parts`` below one another."""
    return Group(*parts)


def as_json(value: Any) -> str:
    """``value`` as indented JSON, in ASCII where standard output cannot write all of it."""
    text = visible_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), indent=2)
    return text


def show(shown: RenderableType) -> None:
    """Print a table, text, or JSON."""
    if isinstance(shown, str):
        print(shown)
        return
    (Console() if sys.stdout.isatty() else Console(width=WIDEST)).print(shown)
