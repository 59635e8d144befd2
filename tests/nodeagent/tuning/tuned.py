# SPDX-License-Identifier: Apache-2.0
"""A node with two classes of HTB on its uplink, real elephants, and what others see of a tuning."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.network import netns
from nodeagent.sources.base import Elephant, FlowThresholds, Locality
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.tuning.flows import Flow, wanted
from nodeagent.tuning.modes import Mode, PriorityOptions
from nodeagent.tuning.part import PriorityPart
from tests.nodeagent.sources.ctnetlink.network import NODE4, POD4, POD6, SERVER4, Network, TcpPair

BIT = PriorityOptions().mark
THRESHOLDS = FlowThresholds(elephant_bytes=10**6, elephant_rate=1e5, rate_window=0.05, exit_hold=0.2)
CHUNK = 2_000_000
DEADLINE = 20.0
MICE, BULK = "1:10", "1:30"
"""Classes of HTB, which this machine's kernel has. tests/kernel/guest/scenario_tuning.py has prio's bands."""


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


LOCALITY = Locality(
    pods={packed(POD4): "uid-1", packed(POD6): "uid-1"}, node=frozenset({packed(NODE4), packed("10.99.1.1")})
)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"within {DEADLINE:g} s there was no {what}"
        time.sleep(0.01)


@dataclass
class Node:
    """The node under test; everything runs in its namespace."""

    net: Network
    source: CtnetlinkSource
    folder: Path

    def part(self, mode: Mode = Mode.APPLY, **options: object) -> PriorityPart:
        chosen = PriorityOptions(mode=mode, **options)  # type: ignore[arg-type]
        return PriorityPart(chosen, self.folder, lambda: ["uplink"])

    def elephants(self, *, like: Callable[[tuple[Elephant, ...]], bool]) -> tuple[Flow, ...]:
        """Once the source says what ``like`` wants."""
        found: tuple[Elephant, ...] = ()
        deadline = time.monotonic() + DEADLINE
        while not like(found):
            assert time.monotonic() < deadline, found
            time.sleep(0.06)
            found = self.source.read(time.monotonic()).elephants
        return wanted(found, 100)

    def feed(self, pair: TcpPair) -> tuple[Flow, ...]:
        """Send on ``pair`` until it is an elephant."""
        deadline = time.monotonic() + DEADLINE
        self.source.read(time.monotonic())
        while True:
            pair.send(CHUNK)
            time.sleep(0.06)
            found = wanted(self.source.read(time.monotonic()).elephants, 100)
            if found:
                return found
            assert time.monotonic() < deadline, "no elephant"

    def advance(self, part: PriorityPart, flows: tuple[Flow, ...]) -> None:
        with netns.entered(self.net.node):
            part.advance(flows, time.monotonic())

    def withdraw(self, part: PriorityPart) -> None:
        with netns.entered(self.net.node):
            part.withdraw()

    def run(self, *command: str) -> str:
        with netns.entered(self.net.node):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    def ruleset(self) -> str:
        return re.sub(r"packets \d+ bytes \d+", "", self.run("nft", "list", "ruleset"))

    def marks(self) -> dict[tuple[str, str], int]:
        """Of every connection, by its first source and source port."""
        found = {}
        for line in self.run("conntrack", "-L", "-o", "extended").splitlines():
            named = dict(reversed(re.findall(r"(src|sport|mark)=(\S+)", line)))  # of the two tuples the first
            if "sport" in named:
                found[named["src"], named["sport"]] = int(named["mark"])
        return found

    def mark_of(self, pair: TcpPair) -> int:
        name = pair.client.getsockname()
        return self.marks()[name[0], str(name[1])]

    def classes(self) -> tuple[int, int]:
        """Bytes that left by the class of mice and by that of elephants."""
        said = self.run("tc", "-s", "class", "show", "dev", "uplink")
        sent = dict(re.findall(r"class htb (\S+) .*\n Sent (\d+) bytes", said))
        return int(sent[MICE]), int(sent[BULK])


@contextmanager
def tuned(net: Network, folder: Path) -> Iterator[Node]:
    source = CtnetlinkSource(THRESHOLDS, LOCALITY)
    with netns.entered(net.node):
        source.open()
        subprocess.run(
            ["tc", "-batch", "-"], text=True, check=True,
            input="qdisc replace dev uplink root handle 1: htb default 10\n"
            f"class replace dev uplink parent 1: classid {MICE} htb rate 10gbit quantum 60000 prio 0\n"
            f"class replace dev uplink parent 1: classid {BULK} htb rate 10gbit quantum 60000 prio 7\n",
        )  # fmt: skip
    try:
        yield Node(net, source, folder)
    finally:
        source.close()


class Wire:
    """What the server receives: DSCP of each packet, by the sender's port."""

    def __init__(self, net: Network) -> None:
        with netns.entered(net.server):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._socket.bind(("eth0", 0x0800))
        self._socket.setblocking(False)

    def seen(self, port: int) -> set[int]:
        """DSCP values since the last call."""
        found: set[int] = set()
        while True:
            try:
                packet, origin = self._socket.recvfrom(100)
            except BlockingIOError:
                return found
            header = (packet[0] & 15) * 4
            if origin[2] != socket.PACKET_OUTGOING and int.from_bytes(packet[header : header + 2], "big") == port:
                found.add(packet[1] >> 2)

    def close(self) -> None:
        self._socket.close()


def pair(net: Network, address: str = SERVER4, listen: str = SERVER4, port: int = 8000) -> TcpPair:
    return TcpPair(net.pod, net.server, address, listen=listen, port=port)
