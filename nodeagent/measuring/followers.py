# SPDX-License-Identifier: Apache-2.0
"""Tunnels that a program runs (OpenVPN, WireGuard in user space): no device tells their flows, their bytes do.

Enters: the host's elephants and the counters of tun devices, reading by reading. Leaves: carriers. Guarantees:
pure; bounded; when in doubt, a flow stays the host's.

The program wraps each packet of its device in one of its own. So the flow carries the device's bytes and, for each
of its packets, a header of about the same size. A flow is a carrier when that holds over ``READINGS`` readings in
a row and ``LEAST_BYTES``, and when one flow alone fits the device. A transfer of the host that runs beside the
tunnel as fast as the tunnel does is a second flow that fits, and then none is judged. A flow *inside* the tunnel
has no more bytes than the device, so it never fits.

What was found stays until its device goes: a carrier is no elephant any more, so there is nothing left to compare.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from nodeagent.node.uplinks.lookup import packed
from nodeagent.sources.base import HOST, NO_PODS, Carrier, Elephant

READINGS: Final = 8
LEAST_BYTES: Final = 4 * 2**20
LEAST_HEADER, MOST_HEADER = 16.0, 200.0
"""Bytes that a tunnel adds to each packet: a few where TCP merges them, IPv6 with UDP and a cipher's at most."""
STEADY: Final = 0.05
"""Part by which a reading's headers may differ from the mean's."""
MOST: Final = 64
"""Pairs of flow and device compared at once, and carriers found."""
_PROTOCOLS: Final = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)

Counters = tuple[int, int]
"""Bytes and packets of a device, both directions."""
Around = tuple[Counters, Counters]
"""Just before the flows were read, and just after: flow and device are not read in the same instant."""
_Flow = tuple[int, str, str]

_log = structlog.get_logger()


@dataclass(slots=True)
class _Pair:
    """One flow beside one device, since they were first compared."""

    flow: int
    first: Around
    """Bytes of the flow, and the device's counters around that ..."""
    last_flow: int
    last: Around
    """... at the first reading and at the last one."""
    readings: int = 0

    def add(self, flow: int, around: Around) -> bool:
        """Whether the flow still follows."""
        moved, least, most = flow - self.last_flow, _less(around[0], self.last[1]), _less(around[1], self.last[0])
        self.last_flow, self.last = flow, around
        self.readings += 1
        if moved <= 0 or most[0] <= 0:
            return False
        header, room = min(max(self.header, LEAST_HEADER), MOST_HEADER), STEADY * moved
        return least[0] + least[1] * header - room <= moved <= most[0] + most[1] * header + room

    @property
    def header(self) -> float:
        """Bytes that the flow has more than the device, for each of the device's packets."""
        size, packets = _less(_middle(self.last), _middle(self.first))
        return (self.last_flow - self.flow - size) / packets if packets > 0 else 0.0

    @property
    def proven(self) -> bool:
        carried = _less(self.last[1], self.first[1])[0]
        enough = self.readings >= READINGS and carried >= LEAST_BYTES
        return enough and LEAST_HEADER <= self.header <= MOST_HEADER


class Followers:
    """State between readings."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[_Flow, str], _Pair] = {}
        self._found: dict[str, frozenset[Carrier]] = {}

    @property
    def carriers(self) -> frozenset[Carrier]:
        return frozenset().union(*self._found.values())

    def advance(
        self, elephants: Iterable[Elephant], devices: Mapping[str, Around], node: frozenset[bytes]
    ) -> bool:
        """One reading; ``node``: the node's own addresses. Whether ``carriers`` changed."""
        before = self.carriers
        self._found = {name: found for name, found in self._found.items() if name in devices}
        flows = {
            (flow.protocol, flow.source, flow.destination): flow
            for flow in elephants
            if not flow.local and flow.protocol in _PROTOCOLS and _of_the_node(flow, node)
        }
        pairs: dict[tuple[_Flow, str], _Pair] = {}
        for name, around in devices.items():
            for key, flow in flows.items():
                pair = self._pairs.get((key, name))
                if pair is None or not pair.add(flow.bytes, around):
                    pair = _Pair(flow.bytes, around, flow.bytes, around)
                if len(pairs) < MOST:
                    pairs[key, name] = pair
        self._pairs = pairs
        for name in devices:
            self._judge(name, flows, node)
        return self.carriers != before

    def _judge(self, name: str, flows: Mapping[_Flow, Elephant], node: frozenset[bytes]) -> None:
        fitting = [
            (key, pair) for (key, device), pair in self._pairs.items() if device == name and pair.readings > 2
        ]
        if len(fitting) != 1 or not fitting[0][1].proven or len(self.carriers) >= MOST:
            return
        key, pair = fitting[0]
        found = _carrier(flows[key], node)
        if found is None:
            return
        self._found[name] = self._found.get(name, frozenset()) | {found}
        _log.info(
            "a flow of the host carries what a program's device does; it counts as a tunnel's",
            device=name, source=key[1], destination=key[2], header_bytes=round(pair.header),
        )  # fmt: skip


def _of_the_node(flow: Elephant, node: frozenset[bytes]) -> bool:
    """Whether it is the host's, or that of a pod on the node's network."""
    if flow.owners == (HOST,):
        return True
    return not NO_PODS.intersection(flow.owners) and bool({packed(flow.source), packed(flow.destination)} & node)


def _carrier(flow: Elephant, node: frozenset[bytes]) -> Carrier | None:
    """By the responder's port, which outlives the connection; None when neither end, or both, are the node's."""
    (source, _), (destination, port) = _endpoint(flow.source), _endpoint(flow.destination)
    if (source in node) == (destination in node):
        return None
    return Carrier(flow.protocol, port, destination in node, source if destination in node else destination)


def _endpoint(text: str) -> tuple[bytes, int]:
    """The packed address and the port of ``10.0.0.1:80`` or ``[fd00::1]:80``."""
    address, _, port = text.rpartition(":")
    return ipaddress.ip_address(address.strip("[]")).packed, int(port)


def _less(after: Counters, before: Counters) -> Counters:
    return after[0] - before[0], after[1] - before[1]


def _middle(around: Around) -> Counters:
    return (around[0][0] + around[1][0]) // 2, (around[0][1] + around[1][1]) // 2
