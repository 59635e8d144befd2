# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.docs write`` makes pages and pictures anew; ``check`` says what is wrong with the documentation.

Exit status 0 when nothing is wrong, 1 otherwise, with a line for each thing: where, what, and what to do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lab.docs import pages, prose, references, terms
from lab.errors import LabError


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.docs", description=__doc__)
    parser.add_argument(
        "command", choices=("write", "check"), help="make what is out of date, or say what is wrong"
    )
    try:
        if parser.parse_args(arguments).command == "write":
            for path in pages.write():
                print(f"wrote {path.relative_to(pages.CHECKOUT)}")
            return 0
        found = list(problems(pages.CHECKOUT))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in found:
        print(line)
    return 1 if found else 0


def problems(checkout: Path) -> Iterator[str]:
    """Everything wrong with the documentation, one line each."""
    yield from pages.stale()
    for path in documents(checkout):
        yield from _named(path, checkout, prose.problems(path.read_text()))
        if path.name != "glossary.md":
            yield from _named(path, checkout, terms.problems(path.read_text()))
    for path in (*documents(checkout), *_linked(checkout)):
        yield from _named(path, checkout, references.problems(path, checkout))
    yield from references.sources_problems(checkout)


def documents(checkout: Path) -> list[Path]:
    """The pages whose words are checked."""
    return [checkout / "README.md", checkout / "CONTRIBUTING.md", *sorted((checkout / "docs").rglob("*.md"))]


def _linked(checkout: Path) -> list[Path]:
    """Further pages whose links and paths are checked. Changelogs name what is gone."""
    return [checkout / "SECURITY.md", checkout / "helm" / "traffic-footprint" / "README.md"]


def _named(path: Path, checkout: Path, found: Iterable[tuple[int, str]]) -> Iterator[str]:
    name = path.relative_to(checkout)
    return (f"{name}:{line}: {text}" for line, text in found)


if __name__ == "__main__":
    sys.exit(main())
