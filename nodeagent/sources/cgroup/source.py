# SPDX-License-Identifier: Apache-2.0
"""The flow source that counts at sockets. Where its hooks are, and what follows from it, is its own; how counters,
owners and elephants are read is the eBPF source's.

Enters: the cgroup whose sockets are counted, locality, thresholds. Leaves: readings. Each reading also looks at a
part of the flows, and ends those that have been idle for too long: O(1) per reading, whatever there is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from nodeagent.sources.base import UNATTRIBUTED, Elephant, FlowThresholds, Locality, Reading
from nodeagent.sources.cgroup import idle, loader, root
from nodeagent.sources.cgroup.groups import PodGroups
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.layout import FlowEntry
from nodeagent.sources.ebpf.loader import Options, Session
from nodeagent.sources.ebpf.source import EbpfSource

NOTES: Final = 16_384
"""Notes between two ends on this node; each serves for the time of one answer."""
GROUPS: Final = 1_024
"""Pods on the node's network; no node has more pods than that."""
SWEPT: Final = 4_096
"""Flows looked at in one reading."""
SWEEP_EVERY: Final = 10.0
"""Seconds between two walks through the map; no flow is idle for less than 30."""
_CLOCK_MONOTONIC_COARSE: Final = 6


def at_sockets(options: Options) -> Options:
    """With the maps that this source needs: it takes no seeds, for a socket knows what it has carried."""
    return replace(options, sizes=replace(options.sizes, seeds=1, notes=NOTES, groups=GROUPS))


class CgroupSource(EbpfSource):
    """Programs at the sockets of a cgroup, the machine's root by default. Raises SourceUnavailable at ``open``
    where that is not visible, or belongs to somebody else's exclusive program."""

    name = "ebpf-cgroup"
    watched = "the machine's sockets"

    def __init__(
        self,
        thresholds: FlowThresholds | None = None,
        locality: Locality | None = None,
        *,
        options: Options | None = None,
        keep: bool = False,
        cgroup: Path | None = None,
    ) -> None:
        super().__init__(thresholds, locality, options=at_sockets(options or Options()), keep=keep)
        self._named = cgroup
        self._cgroup = Path()
        self._groups = PodGroups(self._cgroup)
        self._swept: bytes | None = None
        self._sweep_from = 0.0
        self._at_once = SWEPT
        self._tick = time.clock_getres(_CLOCK_MONOTONIC_COARSE)

    def open(self) -> None:
        """Take over a predecessor's program, or start one. Raises SourceUnavailable."""
        self._cgroup = root.find(self._named)
        self._groups = PodGroups(self._cgroup)
        super().open()

    def _adopt(self) -> Session | None:
        return loader.adopt(self._options, self._cgroup)

    def _start(self) -> Session:
        return loader.start(self._options, self._cgroup)

    def _pin(self, session: Session) -> None:
        loader.pin(session, self._options, self._cgroup)

    def _change(self, locality: Locality) -> bool:
        now = time.monotonic()
        self._groups.change(locality.sharing, now)
        self._groups.look(now)
        return self._residents.change(locality, self._groups.by_group())

    def _release(self, session: Session) -> None:  # noqa: ARG002 - the sockets know what was there before
        self._config.fingerprint = loader.identity(self._options)
        self._config.salt = int.from_bytes(os.urandom(8), "little")
        self._write_config(generation=1)

    def _read(self, session: Session, now: float) -> Reading:
        if now >= self._sweep_from:
            self._sweep(session)
            if self._swept is None:
                self._sweep_from = now + SWEEP_EVERY
        if self._groups.look(time.monotonic()):
            self.set_locality(self._locality)
        reading = super()._read(session, now)
        return replace(reading, elephants=tuple(joined(reading.elephants)))

    def _sweep(self, session: Session) -> None:
        """End what is idle for too long, in the next part of the map."""
        program = session.programs.loaded[loader.SWEEP]
        clock = bpf.program_run(program, idle.QUESTION, repeat=1).result
        try:
            chunk = bpf.map_walk(
                session.maps.fds["flows"], self._swept, self._at_once, key_size=8,
                value_size=ctypes.sizeof(FlowEntry),
            )  # fmt: skip
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._at_once *= 2  # one bucket holds more than was asked for
            return
        self._swept = chunk.following
        for message in idle.messages(idle.overdue(chunk.keys, chunk.values, clock, self._tick)):
            bpf.program_run(program, message, repeat=1)

    def _flows(self, session: Session) -> int:
        stats = session.maps.stats()
        here = stats["STAT_FLOWS_MET"] - stats["STAT_FLOWS_BURIED"] - self._evicted
        return max(0, min(here, self._options.sizes.flows))


def joined(elephants: Iterable[Elephant]) -> Iterable[Elephant]:
    """Both ends of one flow are one elephant of both owners; the order is kept. An end that belongs to nobody
    known adds nothing."""
    found: dict[tuple[int, str, str], Elephant] = {}
    for elephant in elephants:
        flow = elephant.protocol, elephant.source, elephant.destination
        other = found.get(flow)
        if other is None or other.owners == (UNATTRIBUTED,):
            found[flow] = elephant
        elif elephant.owners != (UNATTRIBUTED,):
            owners = tuple(dict.fromkeys((*other.owners, *elephant.owners)))
            found[flow] = replace(other, owners=owners, since=min(other.since, elephant.since))
    return found.values()
