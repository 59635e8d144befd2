# SPDX-License-Identifier: Apache-2.0
"""The flow source that lets the kernel count: user space costs O(pods + elephants), not O(packets).

Enters: the thread's network namespace, locality, thresholds. Leaves: readings. It hooks conntrack itself. So it
needs no accounting switch, and sees every connection that begins and ends between two readings.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from operator import sub
from pathlib import Path
from typing import Final

import structlog

from nodeagent.sources.base import (
    HISTOGRAM_BUCKETS,
    Counters,
    Fill,
    FlowThresholds,
    Locality,
    LossKind,
    Reading,
    SourceUnavailable,
)
from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.elephants import ElephantView
from nodeagent.sources.ebpf.kernel.layout import CARRIER_TAG, FLOW_SHADOW, Config, ElephantEvent, FlowEntry
from nodeagent.sources.ebpf.kernel.maps import buckets, counted, less
from nodeagent.sources.ebpf.kernel.ring import RingBuffer
from nodeagent.sources.ebpf.loader import Options, Session
from nodeagent.sources.ebpf.locality import LocalityTables
from nodeagent.sources.ebpf.owners import OwnerTable, Slot
from nodeagent.sources.ebpf.seeding import Seeder
from nodeagent.sources.ebpf.values import configure

_log = structlog.get_logger(__name__)

KEPT_READINGS: Final = 3
"""Readings for which an owner that left, and for which nothing is counted any more, is still shown."""

_INLINED: Final = "nf_ct_acct_add"
"""The function that compilers may copy into its callers."""
_BIRTHS_TO_JUDGE: Final = 16
"""Births without a run of the accounting hook that prove that conntrack does not call it."""
_HEARD: Final = 1 / 16
"""Part of them whose first packet must have been counted. Programs create a few entries without any packet."""

_NONE_ENDED: Final = [0] * HISTOGRAM_BUCKETS, [0] * HISTOGRAM_BUCKETS
"""Histograms of sizes and lifetimes; readings are not changed once handed out."""

_CLOCK_MONOTONIC_COARSE: Final = 6
"""Advances by jiffies; Python has no name for it."""

_ENTRIES: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")


class EbpfSource:
    """A program on conntrack's functions. ``keep`` leaves it attached at close, for a successor to take over.
    Without pins it ends with this process.

    A program that counts elsewhere differs in how it is started (``_adopt``, ``_start``, ``_pin``) and in what it
    must know before it counts (``_release``)."""

    name = "ebpf"
    watched = "conntrack"
    """Where its hooks are, as the log says it."""

    def __init__(
        self,
        thresholds: FlowThresholds | None = None,
        locality: Locality | None = None,
        *,
        options: Options | None = None,
        keep: bool = False,
    ) -> None:
        self._thresholds = thresholds or FlowThresholds()
        self._locality = locality or Locality()
        self._options = options or Options()
        self.keep = keep
        self._session: Session | None = None
        self._ring: RingBuffer | None = None
        self._config = Config()
        self._epoch = 0
        self._lost: Counter[LossKind] = Counter()
        self._lost_here: Counter[LossKind] = Counter()
        self._inherited: Counter[LossKind] = Counter()
        self._refused_seeds = self._unsized_seeds = self._evicted = self._held = 0
        self._owners = OwnerTable(self._options.sizes.slots)
        self._view = ElephantView(self._thresholds)

    def open(self) -> None:
        """Take over a predecessor's program, or start one. Raises SourceUnavailable."""
        self.close()
        session = self._adopt()
        if session is not None:
            try:
                self._reset()
                self._begin(session)
            except (OSError, ValueError) as error:
                _log.warning("cannot read the previous agent's state; starting a new program", problem=str(error))
                self._abandon(session)
                session = None
        if session is None:
            self._start_fresh()

    def set_locality(self, locality: Locality) -> None:
        self._locality = locality
        if self._session is not None and self._change(locality):
            self._write_config(generation=self._config.generation + 1)

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        self._thresholds = self._view.thresholds = thresholds
        if self._session is not None:
            self._write_config()

    def wait(self, timeout: float) -> bool:
        """Sleep until the kernel reports an elephant, or for ``timeout`` seconds; whether it did."""
        if self._ring is None:
            time.sleep(timeout)
            return False
        return self._ring.wait(timeout)

    def events(self) -> list[ElephantEvent]:
        """The beginnings and ends of elephants that the kernel reported since the last call or reading."""
        if self._ring is None:
            return []
        return [ElephantEvent.from_buffer_copy(record) for record in self._ring.records()]

    def read(self, now: float) -> Reading:
        """The kernel's counters, summed. Raises SourceUnavailable when they cannot be read."""
        if self._session is None:
            raise SourceUnavailable("ebpf: not open; no traffic is measured; call open() first")
        try:
            reading = self._read(self._session, now)
            if self._never_called(self._session):
                self._avoid_inlined()
                reading = self._read(self._session, now)
        except OSError as error:
            fact = f"ebpf: the kernel's maps cannot be read ({error.strerror}); no traffic is measured"
            raise SourceUnavailable(f"{fact}; restart the agent") from error
        return reading

    def close(self) -> None:
        """Unload the program, unless it is to be kept and can be."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        if self._session is not None:
            self._session.close(keep=self.keep)
            self._session = None

    @property
    def mode(self) -> str:
        """How the hooks are attached: ``fentry`` or ``kprobe``; empty while closed."""
        return self._session.mode if self._session is not None else ""

    @property
    def adopted(self) -> bool:
        """Whether a predecessor's program was taken over."""
        return self._session is not None and self._session.adopted

    @property
    def pinned(self) -> bool:
        """Whether the program can outlive this process."""
        return self._session is not None and self._session.pinned is not None

    def _start_fresh(self) -> None:
        session = self._start()
        try:
            self._reset()
            self._begin(session)
        except BaseException as error:
            self._abandon(session)
            if isinstance(error, OSError):
                raise SourceUnavailable(
                    f"ebpf: the maps cannot be written ({error.strerror}); nothing is measured; restart the agent"
                ) from error
            raise
        self._pin(session)

    def _adopt(self) -> Session | None:
        return loader.adopt(self._options)

    def _start(self) -> Session:
        """Raises EbpfUnavailable."""
        return loader.start(self._options)

    def _pin(self, session: Session) -> None:
        loader.pin(session, self._options)

    def _begin(self, session: Session) -> None:
        """Let the hooks count. Everything that they look up is written before the number of their namespace is."""
        owners = OwnerTable(self._options.sizes.slots)
        residents = LocalityTables(session.maps, owners)
        config = Config()
        if session.adopted:
            config = session.maps.read_config()
            residents.adopt()
        else:
            for slot in owners:
                session.maps.give_slot(slot.number, slot.tag)
        ring = RingBuffer(session.maps.fds["events"], self._options.sizes.event_bytes)
        self._session, self._ring, self._config = session, ring, config
        self._owners, self._residents = owners, residents
        self._epoch += 1
        if session.adopted:  # what a predecessor lost, and published, is no news
            self._inherited = self._missing(session)
        session.maps.forget_namespace()
        self._change(self._locality)
        if session.adopted:
            self._write_config(generation=config.generation + 1)
        else:
            self._release(session)
        self.name = f"ebpf-{session.mode}"
        _log.info(
            f"measuring with eBPF on {self.watched}", mode=session.mode, epoch=self._epoch,
            functions=list(session.functions), adopted=session.adopted, program=session.origin,
        )  # fmt: skip

    def _change(self, locality: Locality) -> bool:
        """Write who lives here; whether flows have to be judged anew."""
        return self._residents.change(locality)

    def _release(self, session: Session) -> None:
        """Let a fresh program count, told of what was there before it."""
        seeder = Seeder(session.maps)
        seeder.dump()
        self._config.fingerprint = loader.identity(self._options.sizes)
        self._write_config(generation=1, netns=loader.own_namespace())
        # What began between the first dump and now. Without these seeds such a flow would count as lost.
        self._write_config(seeded=int(seeder.dump()))
        self._refused_seeds += seeder.refused
        self._unsized_seeds += seeder.unsized

    def _write_config(self, **fields: int) -> None:
        for name, value in fields.items():
            setattr(self._config, name, value & 0xFFFF_FFFF)
        configure(self._config, self._thresholds, time.clock_getres(_CLOCK_MONOTONIC_COARSE))
        if self._session is not None:
            self._session.maps.write_config(self._config)

    def _read(self, session: Session, now: float) -> Reading:
        self.events()  # what is in the ring is in the map of elephants as well; this makes room
        self._count(session)
        owners = {slot.uid: slot.shown for slot in self._owners if slot.shown}
        standing = self._standing(session)
        elephants = self._view.advance(standing, self._owners.uid_of, now)
        return Reading(
            taken_at=now, epoch=self._epoch, owners=owners, elephants=elephants,
            lost=self._losses(session), flows=self._flows(session),
            programs=dict(session.programs.runs), tables=self._tables(len(standing)),
        )  # fmt: skip

    def _tables(self, elephants: int) -> dict[str, Fill]:
        """How full the maps are that can be full; from what is known without a walk through them."""
        sizes, residents = self._options.sizes, self._residents
        return {
            "flows": Fill(max(0, min(self._held, sizes.flows)), sizes.flows),
            "elephants": Fill(elephants, sizes.elephants),
            "owners": Fill(sum(slot.present for slot in self._owners), sizes.slots),
            "addresses": Fill(residents.addresses, sizes.addresses),
            "carriers": Fill(residents.carriers, sizes.carriers),
        }

    def _count(self, session: Session) -> None:
        """Update the owners whose counters changed since the last reading; an idle owner costs one comparison."""
        rows = session.maps.all_counters(self._owners.used)
        ended: list[tuple[Slot, Counters]] = []
        for slot in self._owners:
            row = rows[slot.number]
            if row == slot.row:
                if not slot.present:
                    self._note_absence(session, slot)
                continue
            slot.row, slot.absent = row, 0
            values = counted(row)
            if slot.hidden is not None:
                values = less(values, slot.hidden)
            before = slot.shown
            if before is None and not any(values):
                continue
            # Histograms change only with flows_ended.
            sizes, lifetimes = (before.sizes, before.lifetimes) if before is not None else _NONE_ENDED
            slot.shown = shown = Counters(*values, sizes, lifetimes)
            if shown.flows_ended != (before.flows_ended if before is not None else 0):
                ended.append((slot, shown))
        if ended:
            histograms = session.maps.all_histograms(self._owners.used)
            for slot, shown in ended:
                shown.sizes, shown.lifetimes = buckets(histograms[slot.number])
                if (hidden := slot.hidden) is not None:
                    shown.sizes = list(map(sub, shown.sizes, hidden.sizes))
                    shown.lifetimes = list(map(sub, shown.lifetimes, hidden.lifetimes))

    @staticmethod
    def _note_absence(session: Session, slot: Slot) -> None:
        """One more reading of an owner that left, and for whom nothing was counted."""
        slot.absent += 1
        if slot.shown is not None and slot.absent > KEPT_READINGS:
            slot.hide(Counters(*counted(slot.row), *buckets(bytes(session.maps.histograms(slot.number)))))

    def _standing(self, session: Session) -> list[tuple[ElephantEvent, FlowEntry]]:
        found = []
        for event in session.maps.elephants():
            flow = session.maps.flow(event.flow)
            # Evicted (its next packet enters it again), or another flow has its address now.
            # Or its tunnel, or its entry of another zone, became known while another processor found it one.
            if flow is None or not flow.elephant or flow.charge[0] == CARRIER_TAG or flow.flags & FLOW_SHADOW:
                session.maps.forget_elephant(event.flow)
            else:
                found.append((event, flow))
        return found

    def _losses(self, session: Session) -> dict[LossKind, int]:
        self._lost_here = self._missing(session) - self._inherited
        total = self._lost + self._lost_here
        return {kind: total[kind] for kind in LossKind if total[kind]}

    def _missing(self, session: Session) -> Counter[LossKind]:
        """All that this program and its maps lost, a predecessor's losses included."""
        stats = session.maps.stats()
        lost: Counter[LossKind] = Counter()
        # The kernel does not report evictions. The program notices an evicted flow when it returns or ends. Before
        # that, entries made less entries removed, beyond the map's size, are evictions too.
        met = stats["STAT_FLOWS_MET"] - stats["STAT_FLOWS_BURIED"]
        self._evicted = max(self._evicted, stats["STAT_LOST_FLOW_EVICTED"], met - self._options.sizes.flows)
        self._held = met - self._evicted
        lost[LossKind.FLOWS_EVICTED] = self._evicted + self._refused_seeds
        lost[LossKind.UPDATES_FAILED] = (
            stats["STAT_LOST_FLOW_REFUSED"] + stats["STAT_LOST_READ"] + stats["STAT_LOST_OWNER"]
            + stats["STAT_LOST_ELEPHANT"] + stats["STAT_LOST_ZONE"] + self._residents.refused
        )  # fmt: skip
        lost[LossKind.EVENTS_OVERRUN] = stats["STAT_LOST_EVENT"]
        lost[LossKind.NO_COUNTERS] = self._unsized_seeds
        # Kernels without a counter of skipped runs show a missed end only. With the counter, it holds them too.
        lost[LossKind.HOOKS_MISSED] = max(session.programs.misses(), stats["STAT_LOST_END"])
        return lost

    def _flows(self, session: Session) -> int:  # noqa: ARG002 - another program counts its own map
        """Flows tracked now."""
        with suppress(OSError, ValueError):
            return int(_ENTRIES.read_text())
        return 0

    def _never_called(self, session: Session) -> bool:
        """Whether the compiler inlined the accounting function: connections begin without a run of it.

        Other modules (flowtables) still call it, so counted bytes prove nothing. It is not known which function a
        predecessor hooked; where the hook never runs, it was this one.
        """
        if _INLINED in self._options.without or (session.functions and _INLINED not in session.functions):
            return False
        stats = session.maps.stats()
        births, heard = stats["STAT_BIRTHS"], stats["STAT_BIRTHS"] - stats["STAT_BIRTHS_UNHEARD"]
        return births >= _BIRTHS_TO_JUDGE and heard < births * _HEARD

    def _avoid_inlined(self) -> None:
        _log.warning("conntrack never calls nf_ct_acct_add on this kernel; hooking __nf_ct_refresh_acct instead")
        if self._session is not None:
            self._abandon(self._session)
        self._lost += self._lost_here
        self._options = replace(self._options, without=self._options.without | {_INLINED})
        self._start_fresh()

    def _abandon(self, session: Session) -> None:
        if self._ring is not None:
            self._ring.close()
        self._session = self._ring = None
        session.close(keep=False)

    def _reset(self) -> None:
        self._owners = OwnerTable(self._options.sizes.slots)
        self._lost_here = Counter()
        self._inherited = Counter()
        self._refused_seeds = self._unsized_seeds = self._evicted = self._held = 0
        self._config = Config()
        self._view = ElephantView(self._thresholds)
