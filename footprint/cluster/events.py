# SPDX-License-Identifier: Apache-2.0
"""A warning for people, as an Event of events.k8s.io/v1.

Enters: what is regarded and what is told. Leaves: the object. Pure. Guarantees: the same key about the same object
has the same name, so that nobody says a thing twice while the API server still has it; every text fits the API's
bounds.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from footprint.cluster import paths

NO_NAMESPACE: Final = "default"
"""Where the Events of objects without a namespace are."""
_NAME: Final = 200
_INSTANCE: Final = 128
_NOTE: Final = 1024


class Regarded(NamedTuple):
    """What an Event is about. ``namespace`` is empty for a Node."""

    kind: str
    name: str
    uid: str
    namespace: str = ""

    @property
    def events_in(self) -> str:
        """The namespace of its Events."""
        return self.namespace or NO_NAMESPACE


class Reporter(NamedTuple):
    """Who tells: a program, and which one of them."""

    controller: str
    instance: str


def warning(
    about: Regarded, by: Reporter, *, action: str, reason: str, note: str, key: str, moment: datetime,
    kind: str = "Warning",
) -> dict[str, Any]:  # fmt: skip
    """The Event; ``key`` is what makes it another one about the same object. ``kind``: Warning or Normal."""
    digest = hashlib.sha256(f"{about.uid}\0{key}".encode()).hexdigest()[:16]
    namespace = {"namespace": about.namespace} if about.namespace else {}
    return {
        "apiVersion": paths.EVENT_API,
        "kind": "Event",
        "metadata": {"name": f"{about.name[:_NAME].rstrip('-.')}.{digest}", "namespace": about.events_in},
        "eventTime": micro_time(moment),
        "reportingController": by.controller,
        "reportingInstance": by.instance[:_INSTANCE],
        "action": action,
        "reason": reason,
        "type": kind,
        "note": note[:_NOTE],
        "regarding": {"apiVersion": "v1", "kind": about.kind, **namespace, "name": about.name, "uid": about.uid},
    }


def micro_time(moment: datetime) -> str:
    """The API's MicroTime: RFC 3339 in UTC with six digits of a second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
