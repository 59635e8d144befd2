# SPDX-License-Identifier: Apache-2.0
"""Saved files in several encodings, and text that a terminal must not act on."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.text import utf8, visible, visible_json

WORDS = 'größe: "ß→🐘"'


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"), (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)  # fmt: skip
def test_a_byte_order_mark_tells_the_encoding(mark: bytes, encoding: str) -> None:
    assert utf8(mark + WORDS.encode(encoding)) == WORDS.encode()


@given(st.binary(max_size=40), st.sampled_from([b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE]))
def test_any_bytes_are_taken(data: bytes, mark: bytes) -> None:
    assert isinstance(utf8(mark + data), bytes)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1 größe 🐘", "web-1 größe 🐘"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb\nc\td\x7f", r"a\rb\nc\td\x7f"),
        ("\x9b31m", r"\x9b31m"),  # an escape sequence in one character, for some terminals
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_act_on_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_line_feeds_stay_where_lines_are_wanted() -> None:
    assert visible("a\nb\x1b", lines=True) == "a\nb\\x1b"


@given(st.text(max_size=40))
def test_nothing_that_is_shown_is_a_control_character(text: str) -> None:
    assert visible(text).isprintable()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_visible_json_means_the_same(value: Any) -> None:
    written = visible_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(written) == value
    assert written.replace("\n", "").isprintable()
