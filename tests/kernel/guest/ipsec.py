# SPDX-License-Identifier: Apache-2.0
"""IPsec between two namespaces, by policy in tunnel mode: packets between two networks become ESP, or that
in UDP.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.kernel.guest.network import run_ip
from tests.kernel.guest.traffic import socket_in

PORT: Final = 4500
"""RFC 3948."""
_KEY: Final = "0x" + "1b" * 20
"""Of AES-GCM: 16 bytes and 4 of salt, for the tests alone."""
_UDP_ENCAP, _ESP_IN_UDP = 100, 2


class End(NamedTuple):
    namespace: str
    address: str
    network: str
    """What is behind it."""


def protect(here: End, there: End, number: int, *, in_udp: bool) -> None:
    """Packets between both networks, and no others. ``number`` tells these policies' states from others."""
    encapsulation = f"encap espinudp {PORT} {PORT} 0.0.0.0" if in_udp else ""
    for own in (here, there):
        for source, target, spi in ((here, there, 2 * number), (there, here, 2 * number + 1)):
            direction = "out" if source is own else "fwd"
            states = f"""xfrm state add src {source.address} dst {target.address} proto esp spi {4096 + spi} \
                reqid {number} mode tunnel aead rfc4106(gcm(aes)) {_KEY} 128 {encapsulation}"""
            policies = f"""xfrm policy add src {source.network} dst {target.network} dir {direction} \
                tmpl src {source.address} dst {target.address} proto esp reqid {number} mode tunnel"""
            run_ip(own.namespace, f"{states}\n{policies}")


@contextmanager
def takes_udp(namespace: str) -> Iterator[None]:
    """The socket through which the kernel takes ESP in UDP, as a key exchange daemon holds it."""
    with socket_in(namespace, "0.0.0.0", socket.SOCK_DGRAM) as daemon:
        daemon.bind(("", PORT))
        daemon.setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, _ESP_IN_UDP)
        yield
