# SPDX-License-Identifier: Apache-2.0
"""Tables and JSON on standard output.

Enters: text from the cluster, which others wrote. Leaves: text on standard output. Guarantees: a terminal never
acts on a character from the cluster, nor on square brackets as markup. Colours are for terminals alone, and the
variable NO_COLOR switches them off.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from footprint.text import visible, visible_json

WIDEST: Final = 10_000
"""Columns that no table reaches."""


class Styled(NamedTuple):
    """Text, and its colour on a terminal."""

    text: str
    style: str


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose cells wrap where the terminal is too narrow."""
    made = Table(*head, box=None)
    for row in rows:
        made.add_row(*map(line, row))
    return made


def list_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str | Styled]],
    *,
    headers: bool = True,
    widths: Mapping[str, int] | None = None,
) -> Table:
    """A table as kubectl prints it: a row is a line. ``widths``: the least of each column, by its head."""
    made = Table(box=None, show_header=headers, header_style="", pad_edge=False, padding=(0, 3, 0, 0))
    for name in head:
        made.add_column(name, no_wrap=True, min_width=(widths or {}).get(name))
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(text: str | Styled) -> Text:
    return line(text) if isinstance(text, str) else Text(visible(text.text), style=text.style)


def line(text: str) -> Text:
    """``text`` as it stands, in one line."""
    return Text(visible(text))


def below(*parts: RenderableType) -> Group:
    """``parts`` below one another."""
    return Group(*parts)


def as_json(value: Any) -> str:
    """``value`` as indented JSON, in ASCII where standard output cannot write all of it."""
    text = visible_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    return text if _writable(text) else json.dumps(json.loads(text), indent=2)


def plain(value: Any) -> Any:
    """``value`` as JSON's readers have it: no enumerations, no tuples."""
    return orjson.loads(orjson.dumps(value))


def as_yaml(value: Any) -> str:
    """``value`` as YAML, in ASCII where standard output cannot write all of it, or a terminal would act on it."""
    import yaml  # noqa: PLC0415

    value = plain(value)
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=WIDEST).rstrip("\n")
    if _writable(text) and visible(text, lines=True) == text:
        return text
    return yaml.safe_dump(value, sort_keys=False, width=WIDEST).rstrip("\n")


def _writable(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def console() -> Console:
    """Standard output, with colours where it is a terminal that shows them."""
    terminal = sys.stdout.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Console(force_terminal=terminal, no_color=plain, width=None if terminal else WIDEST, highlight=False)


def show(shown: RenderableType, *, rows_whole: bool = False, end: str = "\n") -> None:
    """Print a table, text, or JSON. ``rows_whole``: the terminal breaks lines, rather than the table its cells."""
    if isinstance(shown, str):
        # JSON and YAML are spelled so already; names and what a template makes of them are not.
        print("\t".join(visible(part, lines=True) for part in shown.split("\t")), end=end)
        return
    console().print(shown, width=WIDEST if rows_whole else None, crop=False, soft_wrap=rows_whole)


@contextmanager
def quiet_logs() -> Iterator[None]:
    """What a running program would log is told in other words here; standard output belongs to those alone."""
    import structlog  # noqa: PLC0415

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def warn(text: str) -> None:
    """One line on standard error, for what a result lacks."""
    print(visible(f"warning: {text}"), file=sys.stderr)
