# SPDX-License-Identifier: Apache-2.0
"""The interface of a flow source: the node's addresses go in, cumulative counters per owner come out.

The interface is narrow. A source may see every flow (ctnetlink), or let the kernel aggregate and see only pods and
elephants (eBPF). Its reader sees no difference, and never handles single mice flows.

Semantics every source keeps:

- Counters are cumulative since the reading's ``epoch`` began and never decrease within an epoch. A source that
  had to start over (restart, lost state) begins a new epoch; readers take no rate across epochs.
- A flow's owners are those of ORIG.src (initiator) and REPLY.src (responder) that live on this node. Direction
  ORIGINAL is transmit for the initiator and receive for the responder; the reply direction is the reverse.
- A flow with both ends on this node (pods, or a pod and the node itself) never uses the link: its bytes are
  ``local_bytes`` of each owner and nothing else. It adds no births, ends, mice or histograms: health probes would
  make every pod look like a mouse. ICMP counts bytes only.
- A flow of the node itself that one of ``Locality.carriers`` names belongs to CARRIER: what it carries is tracked
  as flows of its own. It has bytes and nothing else: no birth, no end, never an elephant. A pod's flow is none.
- A flow with no local owner belongs to HOST when one of its four addresses is the node's own, else to
  UNATTRIBUTED (forwarded traffic; or a pod not known yet: it moves to the pod once that is known, from then on).
  Direction ORIGINAL is transmit for both.
- A connection that crosses several conntrack zones of the node counts once: one zone's entry counts, and the
  others are its shadows while it lives. When it ends and another goes on, that one counts on from there.
- A flow keeps the owner's UID of its first attribution. So a reused address adds nothing to another pod.
- A reading is immutable. It may share an idle owner's object with the reading before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

HOST: Final = "host"
"""Owner of the node's own traffic: host-network pods included, unless the source knows them by their cgroups."""

UNATTRIBUTED: Final = "unattributed"
"""Owner of traffic that belongs to no pod of this node and not to the node itself."""

CARRIER: Final = "carrier"
"""Owner of tunnels' outer flows. The bytes in them have owners already: no sum over the link has them."""

NO_PODS: Final = frozenset({HOST, UNATTRIBUTED, CARRIER})
"""Owners that are always there."""

HISTOGRAM_BUCKETS: Final = 40
"""Bucket i counts values v with 2**(i-1) <= v < 2**i (bucket 0: v = 0); the last one takes everything larger."""


@dataclass(frozen=True, slots=True)
class FlowThresholds:
    """When a flow is an elephant, and when an ended one was a mouse: volume and rate, never packet sizes."""

    elephant_bytes: int = 10 * 2**20
    """Bytes (both directions) a flow must have carried."""
    elephant_rate: float = 10e6
    """bit/s (busier direction) it must sustain besides, over ``rate_window``."""
    exit_factor: float = 0.5
    """An elephant stops being one below ``elephant_rate * exit_factor`` ..."""
    exit_hold: float = 5.0
    """... for this many seconds without a break (hysteresis)."""
    rate_window: float = 1.0
    """Seconds over which a flow's rate is judged."""
    mouse_bytes: int = 128 * 2**10
    """A flow that ends having carried less than this was a mouse."""


class Carrier(NamedTuple):
    """Which of the node's own flows are a tunnel's outer ones. Ports are 0 where the protocol has none."""

    protocol: int
    """IP protocol number."""
    port: int = 0
    """Of one end ..."""
    here: bool = True
    """... this node's, or the other's."""
    remote: bytes = b""
    """Packed address of the other end; empty: whoever it is."""


@dataclass(frozen=True, slots=True)
class Locality:
    """Addresses of this node and its pods, as of now. They are packed: 4 bytes for IPv4, 16 for IPv6."""

    pods: Mapping[bytes, str] = field(default_factory=dict)
    """Address → pod UID, for running pods with an address of their own (not host-network pods)."""
    node: frozenset[bytes] = frozenset()
    """The node's own addresses, loopback included."""
    carriers: frozenset[Carrier] = frozenset()
    sharing: Mapping[str, str] = field(default_factory=dict)
    """Running pods on the node's own network, for a source that sees sockets: UID → the UID in the names of its
    cgroups, which a static pod has for itself."""


@dataclass(slots=True)
class Counters:
    """Cumulative figures of one owner (a pod UID, HOST, UNATTRIBUTED or CARRIER) within an epoch."""

    tx_bytes: int = 0
    """IP bytes sent over the link, as conntrack counts them (IP header included, Ethernet not)."""
    rx_bytes: int = 0
    tx_packets: int = 0
    rx_packets: int = 0
    tx_elephant_bytes: int = 0
    """The part of ``tx_bytes`` carried by flows while they were elephants."""
    rx_elephant_bytes: int = 0
    local_bytes: int = 0
    """Both directions of flows that never left the node."""
    flows_born: int = 0
    flows_ended: int = 0
    mice_ended: int = 0
    sizes: list[int] = field(default_factory=lambda: [0] * HISTOGRAM_BUCKETS)
    """log2 histogram of ended flows' bytes (both directions)."""
    lifetimes: list[int] = field(default_factory=lambda: [0] * HISTOGRAM_BUCKETS)
    """log2 histogram of ended flows' lifetimes in milliseconds."""


@dataclass(frozen=True, slots=True)
class Elephant:
    """A flow that is an elephant now."""

    owners: tuple[str, ...]
    """Pod UIDs, or HOST, or UNATTRIBUTED."""
    protocol: int
    """IP protocol number."""
    source: str
    """``address:port`` of the initiator as it sees itself (ORIG.src)."""
    destination: str
    """``address:port`` of the responder as it sees itself (REPLY.src)."""
    bytes: int
    """Carried so far, both directions."""
    rate: float
    """bit/s in the busier direction over the last window."""
    since: float
    """Monotonic seconds when it became one."""
    local: bool = False


class LossKind(StrEnum):
    """Measurements that are known to be missing; each is a counter in the metrics."""

    EVENTS_OVERRUN = "events-overrun"  # the kernel dropped notifications (ENOBUFS)
    DUMP_INTERRUPTED = "dump-interrupted"  # a dump was cut short and repeated
    MALFORMED = "malformed"  # a message or entry that could not be read
    NO_COUNTERS = "no-counters"  # entries without byte counts (accounting off when they were created)
    FLOWS_EVICTED = "flows-evicted"  # the flow table was full
    UPDATES_FAILED = "updates-failed"  # a map or table refused an entry
    HOOKS_MISSED = "hooks-missed"  # the kernel called a hook while its program was already running there


class ProgramRuns(NamedTuple):
    """What the kernel counted of one eBPF program; it does so only while ``kernel.bpf_stats_enabled`` is 1."""

    runs: int = 0
    nanoseconds: int = 0


class Fill(NamedTuple):
    """Of a table with a bound."""

    entries: int
    most: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source knows at one moment."""

    taken_at: float
    """Monotonic seconds."""
    epoch: int
    owners: Mapping[str, Counters]
    """Per owner with any traffic in this epoch. A pod that left Locality stays for at least one more reading. One
    that was left out and is there again, for something was counted for it after all, begins at zero."""
    elephants: tuple[Elephant, ...] = ()
    lost: Mapping[LossKind, int] = field(default_factory=dict)
    """Cumulative since the source started, across epochs."""
    flows: int = 0
    """Flows tracked now."""
    programs: Mapping[str, ProgramRuns] = field(default_factory=dict)
    """By what the program is for, cumulative since it was loaded."""
    tables: Mapping[str, Fill] = field(default_factory=dict)
    """The source's maps, by name."""


class SourceUnavailable(Exception):  # noqa: N818 - a state the preflight names, not a fault
    """The source cannot run here; the message states the fact, the consequence and the remedy."""


class FlowSource(Protocol):
    """A measuring source. Used from one thread; ``close`` may be called more than once."""

    name: str
    """As published in the annotation, such as ``ctnetlink``."""

    keep: bool
    """Set before ``close``: leave what is pinned in the kernel, for a successor to take over."""

    @property
    def pinned(self) -> bool:
        """Whether what it has in the kernel can outlive this process."""

    def open(self) -> None:
        """Start measuring, seeded with the connections that already exist. Raises SourceUnavailable."""

    def set_locality(self, locality: Locality) -> None:
        """Replace the addresses of this node. Flows without an owner are attributed once their pod is known."""

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        """Change the thresholds without losing state."""

    def read(self, now: float) -> Reading:
        """Counters as of now (monotonic seconds). Raises SourceUnavailable only when it cannot go on at all."""

    def wait(self, timeout: float) -> bool:
        """Sleep for ``timeout`` seconds, or until the kernel reports that an elephant begins or ends; then True.

        A source without such reports always sleeps for the whole time.
        """

    def close(self) -> None:
        """Release sockets, maps and programs."""
