# SPDX-License-Identifier: Apache-2.0
"""Terms of the field are linked at their first use on a page, so that a reader can look them up.

Enters: a page in Markdown. Leaves: one line for each term whose first use in prose is no link. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lab.docs.tables import made_parts_removed

TERMS: Final = {
    "assumed-pod": "assumed pods?",
    "bcc": "bcc",
    "btf": "BTF",
    "conntrack": "conntrack",
    "coverage": "coverage",
    "ctnetlink": "ctnetlink",
    "ebpf": "(?<!Calico )eBPF",
    "elephant-flow": "elephants?(?: flows?)?",
    "extender": "extenders?",
    "fails-open": "fails? open",
    "fentry": "fentry",
    "fifo": "FIFO",
    "goodput": "goodput",
    "heartbeat": "heartbeats?",
    "kprobe": "kprobes?",
    "ledger": "ledger",
    "mice-weight": "mice weight",
    "mouse-flow": "(?:mouse|mice)(?: flows?)?",
    "opportunistic-batching": "opportunistic batching",
    "p99": "p99",
    "service-time": "service times?",
    "shadow-mode": "shadow mode",
    "snapshot": "snapshot",
    "stale": "stale",
    "tuple": "tuples?",
    "uplink": "uplink",
}
"""Anchor in the glossary, and the words."""

_PARSER: Final = MarkdownIt("commonmark").enable("table")


def first_use(term: str) -> re.Pattern[str]:
    """Where ``term`` is used as a word of its own."""
    return re.compile(rf"(?<![\w-]){TERMS[term]}(?![\w-])", re.IGNORECASE)


def problems(page: str) -> Iterator[tuple[int, str]]:
    """(line, what is not linked)."""
    left = {term: first_use(term) for term in TERMS}
    for line, text, linked in _prose(page):
        for term, pattern in list(left.items()):
            if pattern.search(text):
                del left[term]
                if not linked:
                    yield line, f"link the first use of this term to docs/reference/glossary.md#{term}"


def _prose(page: str) -> Iterator[tuple[int, str, bool]]:
    """(line, text, whether it is a link) of all prose in order. Headings, tables and code are left out."""
    for before, token in pairwise(_PARSER.parse(made_parts_removed(page))):
        if token.type == "inline" and before.type == "paragraph_open":
            yield from _pieces(token, (token.map or [0])[0] + 1)


def _pieces(token: Token, line: int) -> Iterator[tuple[int, str, bool]]:
    inside = 0
    pieces: list[tuple[str, bool]] = []
    for child in token.children or ():
        inside += child.nesting if child.type in ("link_open", "link_close") else 0
        text = child.content if child.type == "text" else " " if child.type == "softbreak" else ""
        if text:
            if pieces and pieces[-1][1] == bool(inside):
                pieces[-1] = (pieces[-1][0] + text, bool(inside))
            else:
                pieces.append((text, bool(inside)))
        if child.type == "code_inline":
            pieces.append((" ", bool(inside)))
    yield from ((line, text, linked) for text, linked in pieces)
