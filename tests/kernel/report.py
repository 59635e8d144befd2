"""What a session inside a guest reported: JUnit XML in, one outcome per scenario out."""

from __future__ import annotations

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
