# SPDX-License-Identifier: Apache-2.0
"""A diagnosis for people.

Enters: a diagnosis. Leaves: lines for a terminal. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from footprint.text import visible
from plugin.doctor.finding import Diagnosis, Finding, Severity, listed, of
from plugin.doctor.names import told

_STYLES: Final = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_INDENT: Final = (0, 0, 0, 9)
_MOST_SAID: Final = 300


def rendered(diagnosis: Diagnosis, least: Severity) -> Group:
    """Every finding of at least this severity, then how many there are."""
    shown = [finding for finding in diagnosis.findings if finding.severity.weight >= least.weight]
    parts = [part for finding in shown for part in (*_finding(finding), Text(""))]
    return Group(*parts, Text(summary(diagnosis)))


def _finding(finding: Finding) -> Iterator[Padding | Text]:
    head = Text(f"{finding.severity.value.upper():<9}", style=_STYLES[finding.severity])
    yield head + Text(visible(f"{finding.topic}: {told(finding.what)}"), style="bold")
    yield _indented(told(finding.why))
    names = [told(name) for name in finding.about]
    if len(names) > 1 or (names and finding.count > 1):
        yield _indented(listed(names, finding.count), "dim")
    if finding.said:
        yield _indented(f"it says: {finding.said[:_MOST_SAID]}", "dim")
    for command in finding.mend:
        yield _indented(told(command), "green")


def _indented(text: str, style: str = "") -> Padding:
    return Padding(Text(visible(text), style=style), _INDENT, expand=False)


def summary(diagnosis: Diagnosis) -> str:
    """One line about all findings."""
    counts = [(Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.NOTE, "note")]
    spelled = ", ".join(of(count, word) for severity, word in counts if (count := diagnosis.count(severity)))
    return f"{spelled or 'nothing found'}. Looked at: {', '.join(diagnosis.looked_at)}."
