# SPDX-License-Identifier: Apache-2.0
"""Names that lead nowhere are found, and others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.docs import references

OTHER = "/".join(("docs", "other.md"))  # apart, or the check would miss these pages in the real checkout
GONE = "/".join(("docs", "gone.md"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in {
        OTHER: "# Other page\n\n## `code` and [link](x.md)\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n",
        "lab/bench/answers.py": "",
        "lab/docs/__main__.py": "",
        "tests/test_a.py": "def test_one() -> None: ...\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(checkout: Path, page: str) -> list[str]:
    path = checkout / "docs" / "page.md"
    path.write_text(page)
    return [text for _, text in references.problems(path, checkout)]


@pytest.mark.parametrize(
    "well",
    [
        "[a](other.md)",
        "[a](other.md#other-page)",
        "[a](other.md#code-and-link)",
        "[a](other.md#twice-1)",
        "# Here\n\n[a](#here)",
        "[a](https://nowhere.example/x)",
        "`lab/bench/answers.py`",
        "`lab/bench/`",
        "`lab/bench/*.py`",
        "`tests/test_a.py::test_one`",
        "`make lab`",
        "    python -m lab.bench.answers --rounds 2\n    python -m lab.docs check",
    ],
)
def test_what_exists_is_no_problem(checkout: Path, well: str) -> None:
    assert found(checkout, well) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("[a](gone.md)", "gone.md leads nowhere"),
        ("[a](other.md#gone)", "no heading of other.md"),
        ("[a](other.md#no-heading)", "no heading of other.md"),
        ("[a](#gone)", "no heading of page.md"),
        ("`lab/gone.py`", "does not exist"),
        ("`lab/*.gone`", "matches nothing"),
        ("`tests/test_a.py::test_two`", "has no test_two"),
        ("    python -m lab.gone", "no such module"),
    ],
)
def test_what_leads_nowhere_is_named(checkout: Path, wrong: str, says: str) -> None:
    [problem] = found(checkout, wrong)
    assert says in problem


def test_a_page_that_a_source_names_must_exist(checkout: Path) -> None:
    (checkout / "lab" / "bench" / "answers.py").write_text(f'"""See {OTHER} and {GONE}."""\n')
    expected = f"lab/bench/answers.py: names {GONE}, which does not exist"
    assert list(references.sources_problems(checkout)) == [expected]
