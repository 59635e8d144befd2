# SPDX-License-Identifier: Apache-2.0
"""Which elephants get a mark now, and which lose theirs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from nodeagent.tuning.conntrack_wire import Entry
from nodeagent.tuning.flows import Flow


class Plan(NamedTuple):
    """Of one reading."""

    mark: tuple[Flow, ...] = ()
    clear: tuple[Flow, ...] = ()
    waiting: int = 0
    """Elephants for which this second had no mark left."""


def plan(wanted: Iterable[Flow], marked: Collection[Flow], passed_over: Collection[Flow], available: int) -> Plan:
    """``wanted``: the elephants, most important first. ``passed_over``: those that conntrack does not know."""
    wanted = tuple(wanted)
    new = [flow for flow in wanted if flow not in marked and flow not in passed_over]
    staying = frozenset(wanted)
    return Plan(
        mark=tuple(new[:available]),
        clear=tuple(flow for flow in marked if flow not in staying),
        waiting=max(len(new) - available, 0),
    )


def strangers(found: Iterable[Entry], ours: Collection[bytes]) -> tuple[list[Entry], list[Entry]]:
    """Of entries with our bit: those on which somebody else set it, and those that inherited it from one of ours
    (a connection that another one announced begins with its mark)."""
    others: list[Entry] = []
    heirs: list[Entry] = []
    for entry in found:
        if entry.key not in ours:
            (heirs if entry.master and ours else others).append(entry)
    return others, heirs
