# SPDX-License-Identifier: Apache-2.0
"""What must hold whenever a tunnel carries pods' traffic, for every source that watches the node."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from nodeagent.sources.base import (
    CARRIER,
    HOST,
    UNATTRIBUTED,
    Elephant,
    FlowSource,
    FlowThresholds,
    Locality,
    Reading,
)
from tests.kernel.guest.measuring import PATIENCE, Owners, agreed, since
from tests.kernel.guest.overlay import ELSEWHERE, OUTER_PORT, PEER, UID, Overlay
from tests.kernel.guest.traffic import Connection, Stream, again_and_again, socket_in

THRESHOLDS: Final = FlowThresholds(
    elephant_bytes=2**20, elephant_rate=1e6, rate_window=0.4, exit_factor=0.5, exit_hold=1.0
)
MICE: Final = 30
SENT, ANSWERED = 1_000_000, 150_000
PORT: Final = 8000
MOUTHFUL: Final = 8000
"""Bytes that a mouse sends at a time ..."""
PAUSE: Final = 0.1
"""... and seconds until it sends again: on the fastest machine it stays below the rate of an elephant."""
ENOUGH: Final = 3 * 2**20
"""Bytes of all mice together, three times what makes an elephant."""


class Watching(Protocol):
    """A node that is watched."""

    def locality(self) -> Locality: ...
    def counted(self) -> dict[str, int]: ...
    def devices(self) -> str: ...
    def flush(self) -> None: ...


Net = TypeVar("Net", bound=Watching)


class Watched(Generic[Net]):
    """Begins with an empty connection table. ``before``: the readings of that moment."""

    def __init__(self, net: Net, sources: Mapping[str, FlowSource]) -> None:
        self.net, self.sources = net, sources
        for source in sources.values():
            source.set_thresholds(THRESHOLDS)
        self.set_carriers(known=True)
        self.quiet()
        net.flush()
        self._truth = net.counted()
        self.before = self.read()

    def set_carriers(self, *, known: bool) -> None:
        locality = self.net.locality()
        for source in self.sources.values():
            source.set_locality(locality if known else replace(locality, carriers=frozenset()))

    def read(self) -> dict[str, Reading]:
        return {name: source.read(time.monotonic()) for name, source in self.sources.items()}

    def owners(self) -> Owners:
        self.quiet()
        return agreed({name: since(self.before[name], reading) for name, reading in self.read().items()})

    def truth(self) -> dict[str, int]:
        return {name: value - self._truth[name] for name, value in self.net.counted().items()}

    def quiet(self) -> None:
        before, still = self.net.devices(), 0
        while still < 2:
            time.sleep(0.1)
            after = self.net.devices()
            still = still + 1 if after == before else 0
            before = after

    def elephants_until(self, holds: Callable[[Reading], bool]) -> dict[str, list[Elephant]]:
        """Every elephant of every source in the readings until ``holds`` for all. Fails when it never does."""
        seen: dict[str, list[Elephant]] = {name: [] for name in self.sources}
        deadline = time.monotonic() + PATIENCE
        while True:
            readings = self.read()
            for name, reading in readings.items():
                seen[name] += reading.elephants
            if all(holds(reading) for reading in readings.values()):
                return seen
            assert time.monotonic() < deadline, readings
            time.sleep(0.2)


def counts_once(watched: Watched[Overlay], kind: str, at_sockets: Watched[Overlay] | None = None) -> None:
    """``at_sockets``: watched since the same moment by the source at sockets, which knows it otherwise."""
    with connection(watched, kind) as pair:
        pair.send(SENT)
        pair.answer(ANSWERED)
        owners, truth = watched.owners(), watched.truth()
        seen = at_sockets.owners() if at_sockets else None
    assert set(owners) == {UID, CARRIER}, owners
    pod, carrier = owners[UID], owners[CARRIER]
    assert (pod.tx_bytes, pod.rx_bytes) == (truth["in_pod"], truth["out_pod"])
    assert pod.tx_bytes > SENT
    assert pod.flows_born == 1
    # Every packet on the link was the tunnel's, and as many bytes as the rules saw.
    assert (carrier.tx_bytes, carrier.rx_bytes) == (truth["out_uplink"], truth["in_uplink"])
    assert pod.tx_bytes < carrier.tx_bytes < pod.tx_bytes * 1.3
    assert (carrier.flows_born, carrier.flows_ended, sum(carrier.sizes), carrier.local_bytes) == (0, 0, 0, 0)
    if seen is not None:
        _is_at_the_socket_alone(seen, truth)


def counts_at_the_socket_alone(watched: Watched[Overlay], kind: str) -> None:
    with connection(watched, kind) as pair:
        pair.send(SENT)
        pair.answer(ANSWERED)
        _is_at_the_socket_alone(watched.owners(), watched.truth())


def _is_at_the_socket_alone(owners: Owners, truth: Mapping[str, int]) -> None:
    """The kernel's tunnel sends its packets past every socket. The far pod, on this machine too, is nobody's."""
    assert owners.keys() - {UNATTRIBUTED} == {UID}, owners
    pod = owners[UID]
    assert (pod.tx_bytes, pod.rx_bytes) == (truth["in_pod"], truth["out_pod"])
    assert pod.tx_bytes > SENT
    assert (pod.flows_born, pod.local_bytes) == (1, 0)
    assert truth["out_uplink"] > pod.tx_bytes, "it went through the tunnel"


def elephant_is_the_pods(watched: Watched[Overlay], kind: str) -> None:
    with Stream(connection(watched, kind), 1e6):
        seen = watched.elephants_until(lambda reading: bool(reading.elephants))
        time.sleep(2 * THRESHOLDS.rate_window)
        for name, reading in watched.read().items():
            seen[name] += reading.elephants
    for name, elephants in seen.items():
        assert {elephant.owners for elephant in elephants} == {(UID,)}, (name, elephants)
        assert len({elephant.source for elephant in elephants}) == 1


def mice_stay_mice(watched: Watched[Overlay], kind: str) -> None:
    """As they do not while nobody knows the tunnel: it is the host's elephant, until it is known."""
    watched.set_carriers(known=False)
    with mice(watched, kind):
        watched.elephants_until(lambda reading: [e.owners for e in reading.elephants] == [(HOST,)])
        watched.set_carriers(known=True)
        watched.elephants_until(lambda reading: not reading.elephants)
        before = watched.read()
        seen = watched.elephants_until(lambda reading: _carried(reading) - _least(before) > ENOUGH)
    for name, elephants in seen.items():
        assert not elephants, (name, elephants)


def hosts_elephant_stays_one(watched: Watched[Overlay], kind: str) -> None:
    """To the same machine, by UDP, beside a tunnel that carries something too."""
    with connection(watched, kind) as pair, datagrams(watched.net.node, PEER, 9000):
        pair.send(SENT)
        watched.elephants_until(lambda reading: [e.owners for e in reading.elephants] == [(HOST,)])


def pods_elephant_to_the_tunnels_port_stays_the_pods(watched: Watched[Overlay], kind: str) -> None:
    """Whoever sends to the port of a tunnel is not one."""
    with datagrams(watched.net.pod, PEER, OUTER_PORT[kind]):
        watched.elephants_until(lambda reading: [e.owners for e in reading.elephants] == [(UID,)])


def hosts_elephant_to_another_port_of_a_tunnel_stays_one(watched: Watched[Overlay], kind: str) -> None:
    """The port of the tunnel at an address where no tunnel ends."""
    with datagrams(watched.net.node, ELSEWHERE, OUTER_PORT[kind]):
        watched.elephants_until(lambda reading: [e.owners for e in reading.elephants] == [(HOST,)])


def connection(watched: Watched[Overlay], kind: str) -> Connection:
    far = watched.net.far_address(kind)
    return Connection(watched.net.pod, watched.net.far, far, listen=far, port=PORT)


@contextmanager
def mice(watched: Watched[Overlay], kind: str) -> Iterator[None]:
    """Connections of which each carries little, and all together as much as an elephant, until the end."""
    with ExitStack() as stack:
        pairs = [stack.enter_context(connection(watched, kind)) for _ in range(MICE)]

        def send() -> None:
            for pair in pairs:
                left = pair.client.send(b"x" * MOUTHFUL)
                while left:
                    left -= len(pair.server.recv(left))

        with again_and_again(send, every=PAUSE):
            yield


@contextmanager
def datagrams(namespace: str, target: str, port: int) -> Iterator[None]:
    """As fast as an elephant, until the end; nobody has to listen."""
    with socket_in(namespace, target, socket.SOCK_DGRAM) as caller:

        def send() -> None:
            for _ in range(10):
                caller.sendto(b"x" * 1200, (target, port))  # a connected socket would report that nobody listens

        with again_and_again(send, every=0.02):
            yield


def _carried(reading: Reading) -> int:
    counters = reading.owners.get(CARRIER)
    return counters.tx_bytes if counters is not None else 0


def _least(readings: Mapping[str, Reading]) -> int:
    return max(map(_carried, readings.values()))
