# SPDX-License-Identifier: Apache-2.0
"""What a session inside a guest says: JUnit XML in, one outcome per scenario out; and its lines, as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """One scenario's end."""

    name: str
    state: str
    seconds: float
    message: str = ""
    """What a failure said, or why it was skipped."""


class Labelled:
    """Passes a guest's output on by whole lines, each with the guest's name: several guests talk at once."""

    def __init__(self, label: str) -> None:
        self._label, self._rest = label, b""

    def __call__(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            sys.stdout.write(f"[{self._label}] {line.decode(errors='replace')}\n")
        sys.stdout.flush()

    def end(self) -> None:
        """The rest, if the last line was not ended."""
        if self._rest:
            self(b"\n")


def outcomes(junit: Path) -> list[Outcome]:
    """Every scenario of the report. Raises ValueError when there is no report, or it cannot be read."""
    try:
        root = ElementTree.parse(junit).getroot()  # noqa: S314 - written by our own session a moment ago
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(f"the guest left no readable report: {error}") from error
    return list(_cases(root))


def _cases(root: ElementTree.Element) -> Iterator[Outcome]:
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '')}"
        seconds = float(case.get("time", "0"))
        bad = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if bad:
            text = "\n".join(child.text or child.get("message") or "" for child in bad)
            yield Outcome(name, FAILED, seconds, text)
        elif skipped is not None:
            yield Outcome(name, SKIPPED, seconds, skipped.get("message") or "")
        else:
            yield Outcome(name, PASSED, seconds)
