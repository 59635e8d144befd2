# SPDX-License-Identifier: Apache-2.0
"""First uses of the field's terms that are no links are found."""

from __future__ import annotations

import pytest

from lab.docs import references, terms
from lab.docs.pages import CHECKOUT


def found(page: str) -> list[tuple[int, str]]:
    return [(line, text.rpartition("#")[2]) for line, text in terms.problems(page)]


def test_every_term_stands_in_the_glossary() -> None:
    headings = references.anchors((CHECKOUT / "docs" / "reference" / "glossary.md").read_text())
    assert set(terms.TERMS) - headings == set()


@pytest.mark.parametrize(
    "well",
    [
        "The [extender](g.md#extender) answers. An extender does.",
        "Two [elephant flows](g.md#elephant-flow) meet. Elephants do.",
        "# The extender\n\nNothing.",
        "    an extender in code\n",
        "Call `extender`.",
        "| the extender | x |\n|---|---|\n| the extender | y |\n",
        "An extenderless, non-extender word.",
    ],
)
def test_a_linked_term_or_one_outside_of_prose_is_no_problem(well: str) -> None:
    assert found(well) == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("An extender first. Then [extender](g.md).", (1, "extender")),
        ("Short.\n\n- A kprobe.\n", (3, "kprobe")),
        ("It waits for 3 service\ntimes.", (1, "service-time")),
    ],
)
def test_a_first_use_without_a_link_is_named(page: str, problem: tuple[int, str]) -> None:
    assert found(page) == [problem]
