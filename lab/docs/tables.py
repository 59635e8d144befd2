# SPDX-License-Identifier: Apache-2.0
"""Markdown tables, and pages of which a part is made from the code.

Enters: a page and what belongs between its markers ``<!-- made: NAME -->`` and ``<!-- end -->``. Leaves: the page.
Pure.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from textwrap import dedent
from typing import Any, Final

from lab.errors import LabError

_PART: Final = re.compile(r"(?<=<!-- made: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. A bar inside a cell is escaped, and line breaks become spaces."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(text.split()))


def filled(page: str, parts: Mapping[str, str]) -> str:
    """``page`` with ``parts`` between their markers. Raises LabError for a part whose markers are missing."""
    left = set(parts)

    def part(match: re.Match[str]) -> str:
        left.discard(match[1])
        return f"{match[1]}{match[2]}\n{parts[match[1]]}\n" if match[1] in parts else match[0]

    page = _PART.sub(part, page)
    if left:
        raise LabError(f"no markers <!-- made: {sorted(left)[0]} --> and <!-- end --> in the page; add them")
    return page


def made_parts_removed(page: str) -> str:
    """``page`` with blank lines where parts are made, so that lines keep their numbers."""
    return _PART.sub(lambda match: match[1] + match[2] + "\n" * (match[0].count("\n") - 1), page)


def attribute_docs(cls: type[Any]) -> dict[str, str]:
    """The string below each attribute of ``cls``, by the attribute's name. Absent where there is none."""
    [body] = [
        node.body for node in ast.parse(dedent(inspect.getsource(cls))).body if isinstance(node, ast.ClassDef)
    ]
    found: dict[str, str] = {}
    for before, after in pairwise(body):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and _is_text(after):
            found[before.target.id] = inspect.cleandoc(ast.literal_eval(after.value))  # type: ignore[attr-defined]
    return found


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def comments(cls: type[Any]) -> dict[str, str]:
    """The comment beside each assignment in the body of ``cls``, by the assigned name."""
    found = re.findall(r"^\s+([A-Z_]+) = .*?#\s*(.+)$", inspect.getsource(cls), re.MULTILINE)
    return dict(found)
