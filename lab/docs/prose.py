# SPDX-License-Identifier: Apache-2.0
"""Measures of prose: how long sentences and paragraphs are, how many semicolons join what could be two sentences.

Enters: a page in Markdown. Leaves: one line for each thing to mend. Pure. Counted are paragraphs and items of
lists. Code, tables and what is made from the code are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lab.docs.tables import made_parts_removed

LONGEST_SENTENCE: Final = 32
"""Words."""
MEAN_SENTENCE: Final = 14.0
"""Words, over a page."""
LONGEST_PARAGRAPH: Final = 110
"""Words."""
SEMICOLONS: Final = 4
"""Of a page, outside of tables and of lists that they close."""

_END: Final = re.compile(r"(?<=[.!?:])[\"”)*]*\s+(?=[\"“(*]*[A-Z0-9`])|(?<=:)\s+")
_WORD: Final = re.compile(r"\S*\w\S*")
_PARSER: Final = MarkdownIt("commonmark").enable("table")


def paragraphs(page: str) -> Iterator[tuple[int, str]]:
    """The prose of ``page``: (line, text) of each paragraph or item. A code span counts as one word."""
    tokens = _PARSER.parse(made_parts_removed(page))
    in_table = False
    for before, token in pairwise(tokens):
        in_table = token.type.startswith("t") and token.type != "text" if token.level == 0 else in_table
        if token.type == "inline" and before.type == "paragraph_open" and not in_table:
            yield (token.map or [0])[0] + 1, _text(token)


def _text(token: Token) -> str:
    words = []
    for child in token.children or ():
        if child.type == "code_inline":
            words.append("Code")
        elif child.type in ("softbreak", "hardbreak"):
            words.append(" ")
        elif child.type == "text":
            words.append(child.content)
    return "".join(words)


def sentences(text: str) -> list[int]:
    """How many words each sentence of ``text`` has."""
    counts = [len(_WORD.findall(sentence)) for sentence in _END.split(text)]
    return [count for count in counts if count]


def problems(page: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong and what to do) for each thing to mend."""
    lengths: list[int] = []
    semicolons = 0
    for line, text in paragraphs(page):
        found = sentences(text)
        lengths += found
        semicolons += text.rstrip(";").count(";")
        if found and max(found) > LONGEST_SENTENCE:
            yield line, f"a sentence of {max(found)} words; split it ({LONGEST_SENTENCE} at most)"
        if sum(found) > LONGEST_PARAGRAPH:
            yield line, f"a paragraph of {sum(found)} words; split it ({LONGEST_PARAGRAPH} at most)"
    if lengths and (mean := sum(lengths) / len(lengths)) > MEAN_SENTENCE:
        yield 1, f"sentences of {mean:.1f} words on average; shorten them ({MEAN_SENTENCE:g} at most)"
    if semicolons > SEMICOLONS:
        yield 1, f"{semicolons} semicolons in sentences; make two sentences of one ({SEMICOLONS} at most)"
