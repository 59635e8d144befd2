# SPDX-License-Identifier: Apache-2.0
"""A small real network for the ctnetlink tests: pod, node and server, each its own network namespace.

The node forwards, tracks connections and translates addresses as a Kubernetes node does. Its chains count each
test's packets as well, so that a source's figures can be compared with somebody else's.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.network import netns
from tests import nft

POD4, POD6 = "10.99.1.2", "fd99:1::2"
POD2_4, POD2_6 = "10.99.2.2", "fd99:2::2"
SERVER4, SERVER6 = "10.99.9.2", "fd99:9::2"
NODE4, NODE6 = "10.99.9.1", "fd99:9::1"
SERVICE4, SERVICE6 = "10.96.0.10", "fd96::10"
SERVICE_LOCAL4 = "10.96.0.11"
PORT = 8000

_RULES = f"""
table inet lab {{
  counter from_pod {{ }}
  counter to_pod {{ }}
  chain count {{
    type filter hook forward priority 100;
    iifname "pod" counter name from_pod
    oifname "pod" counter name to_pod
  }}
  chain track {{ type filter hook prerouting priority -100; ct state new counter; }}
}}
table ip nat {{
  chain pre {{
    type nat hook prerouting priority -100;
    ip daddr {SERVICE4} dnat to {SERVER4}
    ip daddr {SERVICE_LOCAL4} dnat to {POD4}
  }}
  chain post {{
    type nat hook postrouting priority 100;
    oifname "uplink" tcp dport 8001 masquerade
    ct status dnat ip saddr {POD4} ip daddr {POD4} masquerade
  }}
}}
table ip6 nat {{
  chain pre {{ type nat hook prerouting priority -100; ip6 daddr {SERVICE6} dnat to {SERVER6}; }}
}}
"""
_numbers = itertools.count()


def _ip(namespace: str, lines: str) -> None:
    batch = "\n".join(line.strip() for line in lines.strip().splitlines())
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input=batch, text=True, check=True)


@dataclass(frozen=True)
class Network:
    pod: str
    pod2: str
    node: str
    server: str

    def counted(self) -> tuple[int, int]:
        """IP bytes the node's own rules counted from and to the pod."""
        with netns.entered(self.node):
            counted = nft.counters()
        return counted["from_pod"], counted["to_pod"]

    def settled(self) -> tuple[int, int]:
        """``counted`` once late acknowledgements have passed."""
        before = self.counted()
        while True:
            time.sleep(0.06)  # longer than TCP delays an acknowledgement
            after = self.counted()
            if after == before:
                return after
            before = after


@contextmanager
def network() -> Iterator[Network]:
    """pod and pod2 behind the node by veth and route, the server on the node's uplink; gone afterwards."""
    prefix = f"tft-{os.getpid()}-{next(_numbers)}"
    net = Network(*(f"{prefix}-{part}" for part in ("pod", "pod2", "node", "server")))
    names = [net.pod, net.pod2, net.node, net.server]
    try:
        netns.create_all(names)
        _wire(net)
        yield net
    finally:
        netns.delete_all(names)


def _wire(net: Network) -> None:
    for name in (net.pod, net.pod2, net.node, net.server):
        with netns.entered(name):  # no waiting for duplicate addresses: it costs seconds and repeated SYNs
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    for name, side, net4, net6 in (
        (net.pod, "pod", "10.99.1", "fd99:1:"),
        (net.pod2, "pod2", "10.99.2", "fd99:2:"),
        (net.server, "uplink", "10.99.9", "fd99:9:"),
    ):
        _ip(net.node, f"link add {side} type veth peer name eth0 netns {name}")
        _ip(
            net.node,
            f"""addr add {net4}.1/24 dev {side}
            addr add {net6}:1/64 dev {side} nodad
            link set {side} up""",
        )
        _ip(
            name,
            f"""addr add {net4}.2/24 dev eth0
            addr add {net6}:2/64 dev eth0 nodad
            link set eth0 up
            route add default via {net4}.1
            route add ::/0 via {net6}:1""",
        )
    with netns.entered(net.node):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True)


def _socket_in(namespace: str, family: int, kind: int) -> socket.socket:
    """A socket made inside ``namespace`` stays there, whoever uses it."""
    with netns.entered(namespace):
        return socket.socket(family, kind)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class TcpPair:
    """An open TCP connection through the network; ``send`` and ``answer`` return once all bytes arrived."""

    def __init__(
        self, client: str, server: str, address: str, *, listen: str, port: int = PORT, source_port: int = 0
    ) -> None:
        """From namespace ``client`` to ``address``, which reaches ``listen`` inside ``server``."""
        with _socket_in(server, _family(listen), socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((listen, port))
            listener.listen()
            self.client = _socket_in(client, _family(address), socket.SOCK_STREAM)
            self.client.settimeout(10)
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if source_port:
                self.client.bind(("", source_port))
            self.client.connect((address, port))
            self.server = listener.accept()[0]
            self.server.settimeout(10)

    def send(self, size: int) -> None:
        _move(self.client, self.server, size)

    def answer(self, size: int) -> None:
        _move(self.server, self.client, size)

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def __enter__(self) -> TcpPair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _move(sender: socket.socket, receiver: socket.socket, size: int) -> None:
    """``sender`` sends ``size`` bytes, all of which ``receiver`` takes."""
    worker = threading.Thread(target=sender.sendall, args=(b"x" * size,))
    worker.start()
    left = size
    while left:
        got = len(receiver.recv(min(left, 1 << 20)))
        assert got, "the connection ended early"
        left -= got
    worker.join()


def udp_exchange(client: str, server: str, address: str, *, listen: str, sizes: Sequence[int]) -> None:
    """Datagrams of ``sizes`` to ``address``, each answered with one byte; one connection entry in all."""
    with (
        _socket_in(server, _family(listen), socket.SOCK_DGRAM) as echo,
        _socket_in(client, _family(address), socket.SOCK_DGRAM) as caller,
    ):
        echo.settimeout(10)
        caller.settimeout(10)
        echo.bind((listen, PORT))
        for size in sizes:
            caller.sendto(b"x" * size, (address, PORT))
            _, peer = echo.recvfrom(65536)
            echo.sendto(b"y", peer)
            caller.recv(16)
