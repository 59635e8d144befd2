# SPDX-License-Identifier: Apache-2.0
"""One connection, several conntrack zones: which of its entries counts.

Enters: flows as they begin and end, with their tuples. Leaves: for each whether it counts or is the shadow of
another one. Guarantees: of a connection that crosses several zones one entry counts; costs nothing until the first
entry outside of zone 0 appears; at most ``MOST`` entries are taken for one connection.

A packet enters a zone as the entry's ORIG tuple says and leaves it as the reverse of its REPLY tuple says,
whatever is translated in between. Two entries of different zones are one connection's when a tuple by which one is
entered or left is one of the other's. So either zone may translate addresses, or a third one between them.

An entry with a pod counts before one without: the others saw the connection under the node's address.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final

from nodeagent.sources.ctnetlink.flow import TrackedFlow
from nodeagent.sources.tuples import FlowTuples

MOST: Final = 8
"""Entries of one connection; Open vSwitch with OVN makes up to four."""

_PORTS: Final = struct.Struct("=BHH")


class ZoneBook:
    """The entries that count, by the tuples under which other zones may have them."""

    def __init__(self, parse: Callable[[bytes], FlowTuples | None]) -> None:
        self._parse = parse
        self._firsts: dict[bytes, TrackedFlow] = {}
        self._lately: dict[bytes, set[int]] = {}
        """The zones in which such a flow ended, in this reading ..."""
        self._before: dict[bytes, set[int]] = {}
        """... and in the one before."""
        self.active = False

    def activate(self, flows: Iterable[TrackedFlow]) -> None:
        """From now on there are several zones; ``flows`` are those tracked until now, all of zone 0."""
        self.active = True
        for flow in flows:
            tuples = self._parse(flow.key)
            if tuples is not None:
                self._register(flow, _names(tuples))

    def enter(self, flow: TrackedFlow, tuples: FlowTuples, *, ended: bool = False) -> None:
        """A flow begins; ``flow.shadow`` says whether it must not count. ``ended``: only its end is seen."""
        if not self.active:
            return
        flow.zone, names = tuples.zone, _names(tuples)
        for name in names:
            first = self._firsts.get(name)
            if first is not None and _is_another(first, flow):
                self._join(first, flow, names)
                return
        gone = self._zones_left(names)
        if gone and flow.zone not in gone:
            # Another zone's entry has just ended, and counted what this one carried until now.
            flow.rebased, flow.conversation, flow.shadow = True, False, ended
        if not flow.shadow:
            self._register(flow, names)

    def leave(self, flow: TrackedFlow) -> None:
        """A flow ends. Another entry of its connection that goes on counts from its next sample on."""
        first = flow.first or flow
        if not self.active or (first is flow and self._names_of(flow) is None):
            return
        members = [first, *first.others]
        for member in members:
            for name in self._names_of(member) or ():
                if self._firsts.get(name) is first:
                    del self._firsts[name]
                if member is flow:
                    self._lately.setdefault(name, set()).add(flow.zone)
        left = [member for member in members if member is not flow]
        flow.first, flow.others = None, []
        self._lead(left)

    def forget(self) -> None:
        """A reading is over. What ended in it is remembered for one more."""
        self._before, self._lately = self._lately, {}

    def _join(self, first: TrackedFlow, flow: TrackedFlow, names: tuple[bytes, ...]) -> None:
        if first.charge.has_pod or not flow.charge.has_pod:
            flow.shadow, flow.first = True, first
            first.others = [*first.others, flow]
            for name in names:
                self._firsts.setdefault(name, first)
            return
        for name, known in list(self._firsts.items()):
            if known is first:
                del self._firsts[name]
        first.shadow = True
        others, first.others = first.others, []
        self._lead([flow, first, *others])
        flow.rebased = True  # until now the other one counted

    def _lead(self, members: list[TrackedFlow]) -> None:
        """The first of ``members`` counts, for all of them."""
        if not members:
            return
        first, *others = members
        first.first, first.others = None, others
        if first.shadow:
            first.shadow, first.rebased, first.conversation = False, True, False
        for member in members:
            if member is not first:
                member.first, member.shadow = first, True
            self._register(first, self._names_of(member) or ())

    def _register(self, flow: TrackedFlow, names: tuple[bytes, ...]) -> None:
        for name in names:
            self._firsts.setdefault(name, flow)

    def _zones_left(self, names: tuple[bytes, ...]) -> set[int]:
        """Where entries of such a connection ended lately."""
        return {zone for book in (self._lately, self._before) for name in names for zone in book.get(name, ())}

    def _names_of(self, flow: TrackedFlow) -> tuple[bytes, ...] | None:
        tuples = self._parse(flow.key)
        return None if tuples is None else _names(tuples)


def _is_another(first: TrackedFlow, flow: TrackedFlow) -> bool:
    members = (first, *first.others)
    return len(members) < MOST and all(member.zone != flow.zone for member in members)


def _names(tuples: FlowTuples) -> tuple[bytes, ...]:
    """How a packet enters the zone, and how it leaves it; one where nothing is translated.

    Without a direction: a zone that lost its entry takes an answer for the connection's first packet.
    """
    entered = _name(tuples.protocol, tuples.orig_src, tuples.orig_src_port, tuples.orig_dst, tuples.orig_dst_port)
    left = _name(tuples.protocol, tuples.reply_dst, tuples.reply_dst_port, tuples.reply_src, tuples.reply_src_port)
    return (entered,) if entered == left else (entered, left)


def _name(protocol: int, one: bytes, port: int, other: bytes, other_port: int) -> bytes:
    if (one, port) > (other, other_port):
        one, port, other, other_port = other, other_port, one, port
    return _PORTS.pack(protocol, port, other_port) + one + other
