# SPDX-License-Identifier: Apache-2.0
"""Every connection of the node from reading to reading: differences charged to owners, elephants found.

Enters: the samples of a dump, the endings between dumps, this node's addresses, ``now``. Leaves: counters per
owner, elephants, losses. Guarantees: no effects beyond its own state. A connection's bytes are charged once,
whichever comes first, its dump entry or its ending. Counters that decrease are refused. A known, idle connection
costs one dictionary look-up and three comparisons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from nodeagent.sources.base import CARRIER, HOST, Counters, Elephant, FlowThresholds, Locality, LossKind
from nodeagent.sources.ctnetlink.accounts import Accounts
from nodeagent.sources.ctnetlink.attribution import attribute
from nodeagent.sources.ctnetlink.elephants import ElephantWatch
from nodeagent.sources.ctnetlink.flow import TrackedFlow
from nodeagent.sources.ctnetlink.samples import NO_COUNTERS, Ending, Sample
from nodeagent.sources.ctnetlink.zones import ZoneBook
from nodeagent.sources.tuples import FlowTuples, format_endpoint, is_conversation

DEFAULT_LIMIT: Final = 500_000
"""Connections tracked at most; about 0.5 kB each."""

_OF_THE_NODE: Final = frozenset({(HOST,), (CARRIER,)})

_ABSENT_DUMPS: Final = 2
"""Complete dumps in a row that must lack a connection before it counts as ended without a notification. A dump may
miss one while the kernel resizes its table."""


class FlowTracker:
    """The flows of one epoch."""

    def __init__(
        self,
        *,
        parse: Callable[[bytes], FlowTuples | None],
        ends: Callable[[bytes], tuple[bytes, bytes]],
        thresholds: FlowThresholds,
        locality: Locality,
        now: float,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        """``parse`` reads a key's tuples (None: malformed), ``ends`` only its initiator and responder."""
        self.lost: Counter[LossKind] = Counter()
        self._parse, self._ends = parse, ends
        self._thresholds, self._locality, self._limit = thresholds, locality, limit
        self._flows: dict[bytes, TrackedFlow] = {}
        self._accounts = Accounts()
        self._watch = ElephantWatch(thresholds, now)
        self._replaced: dict[tuple[bytes, int], TrackedFlow] = {}
        self._ended: dict[tuple[bytes, int], Sample] = {}
        self._zones = ZoneBook(parse)
        self._fresh: dict[tuple[bytes, int], Sample] = {}
        """Of this reading, while there are several zones: entered once all are known, those of pods first."""
        self._generation = self._seen = 0
        self._seeding = True
        self._seed_partial = False
        """The table may lack connections that are older than the epoch ..."""
        self._refused = self._refused_before = False
        """... or connections that it had no room for, in this reading or an earlier one."""
        self._now = self._previous = now

    def __len__(self) -> int:
        return len(self._flows)

    def seeded(self, *, complete: bool = True) -> None:
        """Everything until now existed before the epoch; everything from now on counts.

        ``complete`` is False when the dump may have missed some connections.
        """
        self._enter_fresh()
        self._seeding = False
        self._seed_partial = self._refused or not complete
        self._ended.clear()

    def begin(self, now: float) -> None:
        """A reading begins."""
        self._previous, self._now = self._now, now
        self._generation += 1
        self._seen = 0
        self._refused_before |= self._refused
        self._refused = False

    def observe(self, samples: Iterable[Sample]) -> None:
        """Entries of the current dump."""
        get, generation, seen, zoned = self._flows.get, self._generation, 0, self._zones.active
        for sample in samples:
            key, ident, packets_orig, bytes_orig, packets_reply, bytes_reply = sample
            flow = get(key)
            if flow is None or flow.ident != ident:
                if self._has_ended(sample):
                    continue
                if zoned and len(self._fresh) < self._limit:
                    self._fresh[key, ident] = sample
                else:
                    self._enter(flow, sample)
                continue
            if flow.generation != generation:
                flow.generation = generation
                seen += 1
            if bytes_orig != flow.bytes_orig or bytes_reply != flow.bytes_reply:
                self._advance(flow, packets_orig, bytes_orig, packets_reply, bytes_reply)
        self._seen += seen

    def end(self, endings: Iterable[Ending]) -> None:
        """Connections that were removed, with their final counters."""
        for sample, lifetime in endings:
            key, ident = sample[0], sample[1]
            flow = self._flows.get(key)
            if flow is not None and flow.ident == ident:
                del self._flows[key]
            else:
                flow = self._replaced.pop((key, ident), None)
            self._ended[key, ident] = sample
            self._fresh.pop((key, ident), None)
            if flow is None:
                flow = self._short_lived(sample)
                if flow is None:
                    continue
            elif _grew(flow, sample):
                self._advance(flow, *sample[2:])
            self._end(flow, lifetime)

    def finish(self, *, complete: bool) -> None:
        """The reading's dump and endings are in. ``complete`` is False when the dump may have missed entries."""
        self._enter_fresh()
        for flow in self._replaced.values():
            self._end(flow, None)
        self._replaced.clear()
        self._ended.clear()
        self._zones.forget()
        if not complete:
            # An incomplete dump proves no absence: every flow counts as seen.
            self._generation -= 1
        elif self._seen < len(self._flows):
            oldest = self._generation - _ABSENT_DUMPS
            for key in [key for key, flow in self._flows.items() if flow.generation <= oldest]:
                self._end(self._flows.pop(key), None)
        if complete and not self._refused:  # the table holds every connection: a later one is new
            self._seed_partial = self._refused_before = False
        self._watch.judge(self._now)

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        self._thresholds = self._watch.thresholds = thresholds

    def set_locality(self, locality: Locality) -> None:
        """Attribute flows whose end has become a pod's address; owners already stamped stay."""
        before, self._locality = self._locality, locality
        arrived = {address for address, uid in locality.pods.items() if before.pods.get(address) != uid}
        # A changed set of node addresses may move any flow between HOST and UNATTRIBUTED, one of tunnels between
        # HOST and CARRIER.
        every, carriers = before.node != locality.node, before.carriers != locality.carriers
        if not (arrived or every or carriers):
            return
        for flow in self._flows.values():
            initiator, responder = self._ends(flow.key)
            if (
                every
                or initiator in arrived
                or responder in arrived
                or (carriers and flow.charge.attribution.owners in _OF_THE_NODE)
            ):
                self._reattribute(flow)

    def counters(self) -> dict[str, Counters]:
        """A copy of the counters per owner."""
        return self._accounts.snapshot(set(self._locality.pods.values()))

    def elephants(self) -> tuple[Elephant, ...]:
        """The flows that are elephants now, fastest first."""
        found = [e for e in map(self._elephant, self._watch.elephants.values()) if e is not None]
        return tuple(sorted(found, key=lambda e: -e.rate))

    def _enter(self, known: TrackedFlow | None, sample: Sample) -> None:
        """A connection seen for the first time, perhaps where another one used the same tuples."""
        key = sample[0]
        self._supersede(known)
        if len(self._flows) >= self._limit:
            self.lost[LossKind.FLOWS_EVICTED] += 1
            self._refused = True
            return
        flow = self._new_flow(sample)
        if flow is None:
            return
        self._flows[key] = flow
        self._seen += 1
        perhaps_old = known is None and (self._seed_partial or self._refused_before)
        if self._seeding or perhaps_old:  # its counters hold more than what it carried since the last reading
            self._rebase(flow, *sample[2:])
            return
        self._begin(flow, sample)

    def _enter_fresh(self) -> None:
        pods = self._locality.pods
        fresh, self._fresh = self._fresh, {}
        entering = []
        for sample in sorted(fresh.values(), key=lambda sample: pods.keys().isdisjoint(self._ends(sample[0]))):
            known = self._flows.get(sample[0])
            if known is None or known.ident != sample[1]:
                self._supersede(known)
                entering.append((known, sample))
        for known, sample in entering:  # after all that they replace have left: none takes over from another
            self._enter(known, sample)

    def _supersede(self, known: TrackedFlow | None) -> None:
        """Another connection uses the tuples of ``known``, whose ending may still come, with final counters."""
        if known is not None and self._flows.pop(known.key, None) is not None:
            self._replaced[(known.key, known.ident)] = known
            self._zones.leave(known)

    def _has_ended(self, sample: Sample) -> bool:
        """Whether a dump's sample is of an entry whose ending is in: the kernel notifies just before it removes.

        A successor that is made at the same place in memory has the same number. But counters never fall.
        """
        final = self._ended.get(sample[:2])
        return final is not None and sample[3] >= final[3] and sample[5] >= final[5]

    def _new_flow(self, sample: Sample, *, ended: bool = False) -> TrackedFlow | None:
        tuples = self._parse(sample[0])
        if tuples is None:
            self.lost[LossKind.MALFORMED] += 1
            return None
        if sample[3] == NO_COUNTERS or sample[5] == NO_COUNTERS:
            self.lost[LossKind.NO_COUNTERS] += 1
        charge = self._accounts.charge(attribute(tuples, self._locality))
        charge.hold()
        flow = TrackedFlow(
            sample[0], sample[1], charge, conversation=is_conversation(tuples.protocol),
            now=self._now, generation=self._generation, window=self._watch.window,
        )  # fmt: skip
        if tuples.zone and not self._zones.active:
            self._zones.activate(self._flows.values())
        self._zones.enter(flow, tuples, ended=ended)
        return flow

    def _begin(self, flow: TrackedFlow, sample: Sample) -> None:
        if flow.conversation and not (flow.shadow or flow.rebased):
            flow.charge.born()
        if sample[3] == NO_COUNTERS or sample[5] == NO_COUNTERS:
            self._rebase(flow, *sample[2:])
        else:
            self._advance(flow, *sample[2:])

    def _short_lived(self, sample: Sample) -> TrackedFlow | None:
        """A connection that began and ended between two dumps, known by its ending alone."""
        if self._seeding:
            return None
        if self._seed_partial:  # perhaps an old one without room in the table: its bytes are not this epoch's
            self.lost[LossKind.FLOWS_EVICTED] += 1
            return None
        flow = self._new_flow(sample, ended=True)
        if flow is not None:
            # It began somewhere between the two readings; the middle is the best estimate.
            flow.seen_at = (self._previous + self._now) / 2
            self._begin(flow, sample)
        return flow

    def _advance(
        self, flow: TrackedFlow, packets_orig: int, bytes_orig: int, packets_reply: int, bytes_reply: int
    ) -> None:
        """Charge what was added since the last sample."""
        if flow.shadow or flow.rebased:
            flow.rebased = False
            self._rebase(flow, packets_orig, bytes_orig, packets_reply, bytes_reply)
            return
        orig, reply = bytes_orig - flow.bytes_orig, bytes_reply - flow.bytes_reply
        if orig < 0 or reply < 0 or flow.bytes_orig < 0 or flow.bytes_reply < 0:
            # A program reset the counters, or accounting was just switched on: count from here.
            self.lost[LossKind.UPDATES_FAILED] += 1
            self._rebase(flow, packets_orig, bytes_orig, packets_reply, bytes_reply)
            return
        if not flow.charge.carrier:
            self._watch.moved(flow, bytes_orig, bytes_reply)
        flow.charge.add(
            (max(packets_orig - flow.packets_orig, 0), orig),
            (max(packets_reply - flow.packets_reply, 0), reply),
            elephant=flow.standing is not None,
        )
        flow.packets_orig, flow.bytes_orig = packets_orig, bytes_orig
        flow.packets_reply, flow.bytes_reply = packets_reply, bytes_reply

    def _rebase(
        self, flow: TrackedFlow, packets_orig: int, bytes_orig: int, packets_reply: int, bytes_reply: int
    ) -> None:
        """Take counters without charging them."""
        flow.packets_orig, flow.bytes_orig = packets_orig, bytes_orig
        flow.packets_reply, flow.bytes_reply = packets_reply, bytes_reply
        self._watch.rebased(flow)

    def _end(self, flow: TrackedFlow, lifetime: float | None) -> None:
        self._watch.forget(flow)
        self._zones.leave(flow)
        if flow.conversation and not flow.shadow:
            counted = flow.bytes_orig >= 0 and flow.bytes_reply >= 0
            flow.charge.ended(
                flow.bytes_orig + flow.bytes_reply if counted else None,
                self._now - flow.seen_at if lifetime is None else lifetime,
                self._thresholds.mouse_bytes,
            )
        flow.charge.release()

    def _reattribute(self, flow: TrackedFlow) -> None:
        tuples = self._parse(flow.key)
        before = flow.charge
        if tuples is None:
            return
        after = self._accounts.charge(attribute(tuples, self._locality, before.attribution.stamps))
        if after is not before:
            after.hold()
            before.release()
            flow.charge = after
            if after.carrier != before.carrier:
                self._watch.forget(flow)
                self._watch.rebased(flow)

    def _elephant(self, flow: TrackedFlow) -> Elephant | None:
        tuples, standing = self._parse(flow.key), flow.standing
        if tuples is None or standing is None or flow.shadow:
            return None
        return Elephant(
            owners=flow.charge.attribution.owners,
            protocol=tuples.protocol,
            source=format_endpoint(tuples.orig_src, tuples.orig_src_port),
            destination=format_endpoint(tuples.reply_src, tuples.reply_src_port),
            bytes=flow.bytes_orig + flow.bytes_reply,
            rate=standing.rate,
            since=standing.since,
            local=flow.charge.local,
        )


def _grew(flow: TrackedFlow, sample: Sample) -> bool:
    """Whether there is anything to charge; an ending's counters may be older than a dump's."""
    orig, reply = sample[3], sample[5]
    return orig >= flow.bytes_orig >= 0 <= flow.bytes_reply <= reply and (orig, reply) != (
        flow.bytes_orig,
        flow.bytes_reply,
    )
