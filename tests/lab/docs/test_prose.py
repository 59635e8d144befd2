# SPDX-License-Identifier: Apache-2.0
"""What the check of prose counts, and what it leaves out."""

from __future__ import annotations

import pytest

from lab.docs import prose


def words(count: int) -> str:
    return " ".join(["Word"] * count) + "."


def texts(page: str) -> list[str]:
    return [text for _, text in prose.problems(page)]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("One two. Three four five.", [2, 3]),
        ("`make test` runs. `make demo` shows.", [2, 2]),
        ("It has two: One. Two.", [3, 1, 1]),
        ("A pod (here) ends.", [4]),
        ("It is 0.3 ms, or 12 Mbit/s.", [7]),
    ],
)
def test_words_of_each_sentence(text: str, counts: list[int]) -> None:
    [(_, paragraph)] = prose.paragraphs(text)
    assert prose.sentences(paragraph) == counts


def test_a_sentence_that_is_too_long_is_named_with_its_line() -> None:
    page = f"# Title\n\nShort one.\n\n{words(prose.LONGEST_SENTENCE + 1)}\n"
    found = [line for line, text in prose.problems(page) if "a sentence of" in text]
    assert found == [5]


def test_a_paragraph_that_is_too_long_is_named() -> None:
    page = " ".join([words(10)] * (prose.LONGEST_PARAGRAPH // 10 + 1))
    assert any("a paragraph of" in text for text in texts(page))


def test_sentences_that_are_long_on_average_are_named() -> None:
    page = words(round(prose.MEAN_SENTENCE) + 1)
    assert any("on average" in text for text in texts(page))


def test_semicolons_that_join_sentences_are_counted() -> None:
    page = "One; two. " * (prose.SEMICOLONS + 1)
    assert any("semicolons" in text for text in texts(page))


@pytest.mark.parametrize(
    "left_out",
    [
        "| a | b |\n|---|---|\n| {} | x |\n",
        "    {}\n",
        "```\n{}\n```\n",
        "<!-- made: flags -->\n\n{}\n\n<!-- end -->\n",
    ],
)
def test_code_tables_and_made_parts_are_not_counted(left_out: str) -> None:
    assert texts("Few words.\n\n" + left_out.format(words(80))) == []


def test_a_made_part_does_not_move_the_lines_after_it() -> None:
    page = f"<!-- made: flags -->\n\none\ntwo\n\n<!-- end -->\n\n{words(prose.LONGEST_SENTENCE + 1)}\n"
    assert [line for line, text in prose.problems(page) if "a sentence of" in text] == [8]
