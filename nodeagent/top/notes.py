# SPDX-License-Identifier: Apache-2.0
"""Notes beside the figures: the sources' warnings, and what makes the figures doubtful.

Enters: log events, the state of a reading. Leaves: one-line notes, each with its remedy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from footprint.models import LinkRates
from nodeagent.sources.base import LossKind, Reading

_KEPT: Final = 5
TRACKING_COMMAND: Final = (
    "nft 'table inet footprint-watch { "
    "chain track { type filter hook prerouting priority -150; ct state new; }; }'"
)
"""A rule without effect on packets. Its presence makes the kernel track this namespace's connections."""


class Warnings:
    """Warnings that are logged meanwhile. On a terminal they would break the table, so they are shown in it."""

    def __init__(self) -> None:
        self._warnings: dict[str, None] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The latest ones, oldest first, each once."""
        return tuple(self._warnings)

    def add(self, text: str) -> None:
        self._warnings.pop(text, None)
        self._warnings[text] = None
        while len(self._warnings) > _KEPT:
            del self._warnings[next(iter(self._warnings))]

    def configure(self) -> None:
        """From now on warnings are written here instead of logged; what is less severe is dropped."""
        structlog.configure(
            processors=[self._take],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        )

    def _take(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        self.add(formatted(event))
        raise structlog.DropEvent


def formatted(event: Mapping[str, Any]) -> str:
    """``switched accounting on (value=1)``."""
    values = ", ".join(f"{key}={value}" for key, value in event.items() if key not in ("event", "exc_info"))
    text = f"{event.get('event', '')} ({values})" if values else str(event.get("event", ""))
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def hints(
    reading: Reading, *, interface: str | None, capacity: LinkRates, low_coverage: bool, too_much: bool
) -> tuple[str, ...]:
    """Reasons not to trust these figures; pure."""
    said = []
    if reading.flows == 0:
        said.append(
            "no connection is tracked: the kernel tracks them only where a rule needs it; add one for a trial: "
            f"{TRACKING_COMMAND} (undo: nft delete table inet footprint-watch)"
        )
    if interface is None:
        said.append("no default route, so the uplink is not known: name it with --uplink")
    if not capacity.busier:
        said.append("link capacity not known: give it with --link-capacity, such as --link-capacity 1G")
    if low_coverage:
        said.append(
            "conntrack sees less than half of what the link carries: other traffic bypasses it "
            "(flowtables, eBPF datapaths, notrack rules)"
        )
    if too_much:
        said.append(
            "more was counted than the links carried, so figures are scaled down to what they carried: traffic "
            "leaves by an interface that --uplink does not name, stays on this machine, or is counted twice"
        )
    if reading.lost.get(LossKind.NO_COUNTERS):
        said.append("connections older than byte accounting have no counters: they show once they are made anew")
    return tuple(said)
