# SPDX-License-Identifier: Apache-2.0
"""What the doctor found: one value for each thing, with the command that mends it.

Enters: texts of the checks. Leaves: findings in the order in which people should read them, and their JSON. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from plugin.doctor.names import NO_ALIASES, Aliases, Kind, name, told
from plugin.output.listing import API_VERSION

SHOWN: Final = 12
"""Names that a finding lists; the rest is a number."""


class Severity(StrEnum):
    """How much a finding matters. The exit status follows from the worst one."""

    NOTE = "note"  # good to know; nothing has to be done
    WARNING = "warning"  # part of the promise is not kept, or nobody could look
    ERROR = "error"  # something does not work

    @property
    def weight(self) -> int:
        return list(Severity).index(self)


EXIT_STATUS: Final = {None: 0, Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 3}
"""Exit status by the worst finding. 2 is every program's: the doctor could not begin."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. Texts may hold marked names (``plugin.doctor.names``)."""

    id: str
    """Names the kind of finding, for programs; it never changes."""
    topic: str
    severity: Severity
    what: str
    """The fact, in one sentence."""
    why: str
    """What follows from it."""
    mend: tuple[str, ...] = ()
    """Commands, or what to do where no command does it."""
    about: tuple[str, ...] = ()
    """Marked names of what it is about: the first ``SHOWN``."""
    count: int = 0
    """Of how many things it is."""
    said: str = ""
    """What the cluster itself said of it: text of others, which may name anybody."""

    def as_json(self, aliases: Aliases = NO_ALIASES) -> dict[str, Any]:
        """For programs. With aliases, nothing that others said is in it."""
        return {
            "id": self.id,
            "topic": self.topic,
            "severity": self.severity.value,
            "what": told(self.what, aliases),
            "why": told(self.why, aliases),
            "mend": [told(text, aliases) for text in self.mend],
            "about": [told(text, aliases) for text in self.about],
            "count": self.count,
            "said": "" if aliases else told(self.said),
        }


def package_missing(topic: str, package: str, why: str) -> Finding:
    """A part of the doctor needs a package that this machine does not have."""
    return Finding(
        "package-missing", topic, Severity.WARNING,
        f"The topic {topic} was not looked at in full: the Python package {package} is missing.", why,
        ("pip install 'traffic-footprint[plugin,doctor]'",),
    )  # fmt: skip


def about(kind: Kind, names: Iterable[str]) -> dict[str, Any]:
    """``about`` and ``count`` of a finding on things of one kind."""
    found = sorted(names)
    return {"about": tuple(name(kind, one) for one in found[:SHOWN]), "count": len(found)}


def of(count: int, one: str, more: str = "") -> str:
    """``1 node is`` or ``3 nodes are``."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def listed(names: Sequence[str], count: int | None = None) -> str:
    """Marked names as people read them, and how many more there are."""
    left = (count or len(names)) - len(names)
    return ", ".join(names) + (f" and {left} more" if left > 0 else "")


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; otherwise as they come."""
    return sorted(findings, key=lambda finding: -finding.severity.weight)


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Of all; None where there is none."""
    return max((finding.severity for finding in findings), key=lambda severity: severity.weight, default=None)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found, and what was looked at."""

    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...] = field(default=())
    """Topics without an error of their own in looking."""
    at: str = ""
    """The API server's time, RFC 3339."""

    @property
    def worst(self) -> Severity | None:
        return worst(self.findings)

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.worst]

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def as_json(self, aliases: Aliases = NO_ALIASES) -> dict[str, Any]:
        """The whole, for programs."""
        return {
            "apiVersion": API_VERSION,
            "kind": "Diagnosis",
            "at": self.at,
            "worst": self.worst.value if self.worst else None,
            "counts": {severity.value: self.count(severity) for severity in Severity},
            "looked_at": list(self.looked_at),
            "findings": [finding.as_json(aliases) for finding in self.findings],
        }
