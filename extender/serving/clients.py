# SPDX-License-Identifier: Apache-2.0
"""Who a client is to the limits, and how many requests each has under way. Pure.

Enters: addresses as sockets give them, and requests as they begin and end. Leaves: one name for all addresses that
one client can have, and counts. Guarantees: a client cannot multiply its share by its addresses, nor use up that
of another client.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_NETWORK: Final = 64
"""Bits of an IPv6 address that a client cannot choose: a host is given a whole /64, and may use all of it."""


def client_of(address: str) -> str:
    """IPv4, also where IPv6 carries it (``::ffff:10.0.0.7``), is a client of its own; so is each /64 of IPv6.
    Any other text stands for itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), _NETWORK), strict=False))


@dataclass(slots=True)
class UnderWay:
    """Requests of one port without a complete response."""

    total: int = 0
    by_client: Counter[str] = field(default_factory=Counter)

    def add(self, client: str, requests: int) -> None:
        """``requests`` more of ``client``, or fewer."""
        if not requests:
            return
        self.total += requests
        left = self.by_client[client] + requests
        if left:
            self.by_client[client] = left
        else:
            del self.by_client[client]

    def place(self, client: str) -> int:
        """The place of the client's newest request, from 1 on: after all requests where the client alone has
        some. Otherwise clients take turns, so that a client with few requests stands before a crowd of another."""
        return min(self.total, self.by_client[client] * len(self.by_client))
