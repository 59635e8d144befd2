# SPDX-License-Identifier: Apache-2.0
"""An elephant as conntrack may know it. Pure.

Enters: ``Elephant`` values of a reading. Leaves: ``Flow`` values with packed addresses, fastest first. A source
counts at conntrack or at sockets, so the responder may be the address behind a service, or the service itself.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import NamedTuple

from nodeagent.sources.base import Elephant
from nodeagent.sources.tuples import format_endpoint


class End(NamedTuple):
    """Packed address (4 or 16 bytes), and the port or 0."""

    address: bytes
    port: int

    def __str__(self) -> str:
        return format_endpoint(self.address, self.port)


class Flow(NamedTuple):
    """By its protocol number and both ends."""

    protocol: int
    initiator: End
    responder: End

    @property
    def family(self) -> int:
        return socket.AF_INET if len(self.initiator.address) == 4 else socket.AF_INET6

    def __str__(self) -> str:
        return f"{self.initiator} > {self.responder} protocol {self.protocol}"


def wanted(elephants: Iterable[Elephant], most: int) -> tuple[Flow, ...]:
    """The ``most`` fastest elephants that use the link. Those within the node wait in no queue of it."""
    ranked = sorted((one for one in elephants if not one.local), key=lambda one: -one.rate)
    found = (flow_of(one) for one in ranked[:most])
    return tuple(dict.fromkeys(flow for flow in found if flow is not None))


def flow_of(elephant: Elephant) -> Flow | None:
    """None for ends that cannot be read."""
    initiator, responder = parse_end(elephant.source), parse_end(elephant.destination)
    if initiator is None or responder is None or len(initiator.address) != len(responder.address):
        return None
    return Flow(elephant.protocol, initiator, responder)


def parse_end(text: str) -> End | None:
    """The reverse of ``format_endpoint``; None for what it never writes."""
    address, port = text, "0"
    if text.startswith("["):
        address, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        number = int(port or "0")
        return End(socket.inet_pton(family, address), number) if 0 <= number < 65536 else None
    except (OSError, ValueError):
        return None
