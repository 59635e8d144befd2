# SPDX-License-Identifier: Apache-2.0
"""The flow source on conntrack accounting: works wherever the kernel tracks connections, without an eBPF
program.

Enters: the thread's network namespace, locality, thresholds. Leaves: readings. Each reading takes the removals,
dumps the table, and takes the removals again. So a connection that appears in neither was lost.
"""

from __future__ import annotations

import time
from collections import Counter

import structlog

from nodeagent.sources.base import Fill, FlowThresholds, Locality, LossKind, Reading, SourceUnavailable
from nodeagent.sources.ctnetlink.kernel import enable, has_net_admin, tracks_connections
from nodeagent.sources.ctnetlink.socket import EVENT_BUFFER, ConntrackSockets
from nodeagent.sources.ctnetlink.tracker import DEFAULT_LIMIT, FlowTracker
from nodeagent.sources.ctnetlink.wire import Decoder, ends_of, parse_key

_log = structlog.get_logger(__name__)

ACCOUNTING = "net.netfilter.nf_conntrack_acct"
TIMESTAMPS = "net.netfilter.nf_conntrack_timestamp"


class CtnetlinkSource:
    """Reads every connection's counters. ``limit`` bounds the flow table, ``event_buffer`` is bytes."""

    name = "ctnetlink"
    keep = False
    pinned = False  # sockets end with the process

    def __init__(
        self,
        thresholds: FlowThresholds | None = None,
        locality: Locality | None = None,
        *,
        limit: int = DEFAULT_LIMIT,
        event_buffer: int = EVENT_BUFFER,
    ) -> None:
        self._thresholds = thresholds or FlowThresholds()
        self._locality = locality or Locality()
        self._limit, self._event_buffer = limit, event_buffer
        self._decoder = Decoder()
        self._lost: Counter[LossKind] = Counter()
        self._sockets: ConntrackSockets | None = None
        self._tracker = self._new_tracker(0.0)
        self._epoch = 0

    def open(self) -> None:
        """Begin an epoch with the connections that exist as its baseline. Raises SourceUnavailable."""
        self.close()
        _require_kernel()
        now = time.monotonic()
        tracker = self._new_tracker(now)
        try:
            sockets = ConntrackSockets(self._decoder, self._lost, self._event_buffer)
        except OSError as error:
            raise _refused(error) from error
        try:
            complete = sockets.dump(tracker.observe)
            for endings in sockets.endings():
                tracker.end(endings)
        except OSError as error:
            sockets.close()
            raise _refused(error) from error
        tracker.seeded(complete=complete)
        self._sockets, self._tracker = sockets, tracker
        self._epoch += 1
        _log.info("measuring with ctnetlink", epoch=self._epoch, connections=len(tracker))

    def set_locality(self, locality: Locality) -> None:
        self._locality = locality
        self._tracker.set_locality(locality)

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        self._thresholds = thresholds
        self._tracker.set_thresholds(thresholds)

    def read(self, now: float) -> Reading:
        """One dump and the removals around it. Raises SourceUnavailable when the kernel refuses the dump."""
        if self._sockets is None:
            raise SourceUnavailable("ctnetlink: not open; no traffic is measured; call open() first")
        sockets, tracker = self._sockets, self._tracker
        tracker.begin(now)
        try:
            for endings in sockets.endings():
                tracker.end(endings)
            complete = sockets.dump(tracker.observe)
            for endings in sockets.endings():
                tracker.end(endings)
        except OSError as error:
            raise _refused(error) from error
        tracker.finish(complete=complete)
        return Reading(
            taken_at=now,
            epoch=self._epoch,
            owners=tracker.counters(),
            elephants=tracker.elephants(),
            lost=self._losses(),
            flows=len(tracker),
            tables={"flows": Fill(len(tracker), self._limit)},
        )

    def wait(self, timeout: float) -> bool:
        """Sleep: conntrack's events carry no byte counts, so none tells of an elephant."""
        time.sleep(timeout)
        return False

    def close(self) -> None:
        """Release the sockets. The sysctls stay: other connections may be counted by other programs."""
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
            self._lost += self._tracker.lost
            self._tracker.lost.clear()

    def _losses(self) -> dict[LossKind, int]:
        lost = self._lost + self._tracker.lost
        lost[LossKind.MALFORMED] += self._decoder.malformed
        return {kind: lost[kind] for kind in LossKind if lost[kind]}

    def _new_tracker(self, now: float) -> FlowTracker:
        return FlowTracker(
            parse=parse_key, ends=ends_of, thresholds=self._thresholds, locality=self._locality,
            now=now, limit=self._limit,
        )  # fmt: skip


def _require_kernel() -> None:
    """Check what a socket needs, and switch accounting on. Raises SourceUnavailable."""
    if has_net_admin() is False:
        raise SourceUnavailable(
            "ctnetlink: CAP_NET_ADMIN is missing; connection tracking cannot be read; "
            "run as root, or add NET_ADMIN to the container's securityContext.capabilities"
        )
    if not tracks_connections():
        raise SourceUnavailable(
            "ctnetlink: this kernel tracks no connections here; there is nothing to measure; "
            "run `modprobe -a nf_conntrack nf_conntrack_netlink` on the node"
        )
    before, problem = enable(ACCOUNTING)
    if problem:
        raise SourceUnavailable(
            f"ctnetlink: {ACCOUNTING}=0 and it cannot be set ({problem}); byte counts would be absent; "
            f"run `sysctl -w {ACCOUNTING}=1` on the node"
        )
    if not before:
        _log.warning(
            "switched connection accounting on; connections that already exist stay without byte counts",
            sysctl=ACCOUNTING, value=1,
        )  # fmt: skip
    before, problem = enable(TIMESTAMPS)
    if problem:
        _log.warning(
            "cannot switch connection time stamps on, so lifetimes are exact to one poll interval only",
            sysctl=TIMESTAMPS,
            problem=problem,
        )
    elif not before:
        _log.info("switched connection time stamps on, for exact lifetimes", sysctl=TIMESTAMPS, value=1)


def _refused(error: OSError) -> SourceUnavailable:
    return SourceUnavailable(
        f"ctnetlink: the kernel refused ({error.strerror}); no traffic is measured; "
        "check CAP_NET_ADMIN and `modprobe nf_conntrack_netlink`, and see `traffic-footprint-nodeagent preflight`"
    )
