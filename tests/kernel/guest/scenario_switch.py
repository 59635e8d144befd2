# SPDX-License-Identifier: Apache-2.0
"""Pods on Open vSwitch: the link is the card in its bridge, and flows count once, whichever source sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from lab.network import netns
from nodeagent.node.link import Link, read_counters_of
from nodeagent.node.uplinks.finding import find_uplinks
from nodeagent.sources.base import Counters, FlowSource, Reading
from tests.kernel.guest.datapath import device
from tests.kernel.guest.measuring import LENIENT, PATIENCE, since
from tests.kernel.guest.sources import AT_SOCKETS, SOURCES, opened
from tests.kernel.guest.switch import BRIDGE, CARD, POD2, SERVER, Switched, switched
from tests.kernel.guest.traffic import Connection, Stream

PORT: Final = 8000
UP, DOWN, ACROSS = 3_000_000, 200_000, 400_000
RATE: Final = 3e6
TRUE: Final = 0.02

Sources = Mapping[str, FlowSource]


@pytest.fixture(scope="module")
def net() -> Iterator[Switched]:
    with switched() as made:
        made.track(zones=True)
        yield made


@pytest.fixture(scope="module")
def sources(net: Switched) -> Iterator[Sources]:
    # An agent looks for zones when it starts: a connection is there by then.
    with (
        Connection(net.pod1, net.server, SERVER, listen=SERVER, port=PORT - 1),
        opened((*SOURCES, AT_SOCKETS), net.node, LENIENT, net.locality()) as made,
    ):
        yield made


def quiet(net: Switched) -> None:
    before, still = net.devices(), 0
    while still < 2:
        time.sleep(0.1)  # longer than TCP delays an acknowledgement
        after = net.devices()
        still = still + 1 if after == before else 0
        before = after


class Since:
    """What was counted and carried since it was made."""

    def __init__(self, net: Switched, sources: Sources) -> None:
        self._net, self._sources = net, sources
        quiet(net)
        self._before, self._devices, self._link = self._read(), self._pods(), self._carried()

    def owners(self, name: str) -> dict[str, Counters]:
        return since(self._before[name], self._sources[name].read(time.monotonic()))

    def pods(self) -> list[tuple[int, int]]:
        """IP bytes that each pod's device sent and took."""
        return [
            (now[0] - then[0], now[1] - then[1]) for now, then in zip(self._pods(), self._devices, strict=True)
        ]

    def link(self) -> tuple[int, int]:
        """What the agent says the node's link carried."""
        tx, rx = self._carried()
        return tx - self._link[0], rx - self._link[1]

    def _read(self) -> dict[str, Reading]:
        return {name: source.read(time.monotonic()) for name, source in self._sources.items()}

    def _pods(self) -> list[tuple[int, int]]:
        return [device(self._net.pod1), device(self._net.pod2)]

    def _carried(self) -> tuple[int, int]:
        with netns.entered(self._net.node):
            found = read_counters_of([link(self._net)])[BRIDGE]
        return found.tx_bytes, found.rx_bytes


def link(net: Switched) -> Link:
    with netns.entered(net.node):
        return find_uplinks(None, 1e9)


def talk(net: Switched) -> None:
    with Connection(net.pod1, net.server, SERVER, listen=SERVER, port=PORT) as pair:
        pair.send(UP)
        pair.answer(DOWN)
        pair.finish()
    with Connection(net.pod2, net.server, SERVER, listen=SERVER, port=PORT) as pair:
        pair.send(DOWN)
        pair.finish()


def test_the_card_in_the_bridge_is_the_link(net: Switched) -> None:
    found = link(net)
    assert (found.interface, found.counted_by, found.carriers) == (BRIDGE, (CARD,), ("wire",))


def test_through_the_switchs_zones_bytes_and_flows_count_once(net: Switched, sources: Sources) -> None:
    found = Since(net, sources)
    talk(net)
    with Connection(net.pod1, net.pod2, POD2, listen=POD2, port=PORT) as pair:
        pair.send(ACROSS)
        pair.finish()
    quiet(net)
    tracked = [line for line in net.entries() if f"dport={PORT} " in line]
    assert len(tracked) == 6, "two zones each"
    (sent, taken), (others_sent, others_taken) = found.pods()
    tx, rx = found.link()
    for name in sources:
        owners = found.owners(name)
        first, second = owners["uid-1"], owners["uid-2"]
        assert first.tx_bytes + first.rx_bytes + first.local_bytes == pytest.approx(sent + taken, rel=TRUE), name
        assert second.tx_bytes + second.rx_bytes + second.local_bytes == pytest.approx(
            others_sent + others_taken, rel=TRUE
        ), name
        assert first.tx_bytes + second.tx_bytes == pytest.approx(tx, rel=TRUE), name
        assert first.rx_bytes + second.rx_bytes == pytest.approx(rx, rel=TRUE), name
        assert first.local_bytes == second.local_bytes > ACROSS
        assert (first.flows_born, second.flows_born) == (1, 1), name  # of flows over the link


def test_an_elephant_in_the_switchs_zones_is_one(net: Switched, sources: Sources) -> None:
    with Stream(Connection(net.pod1, net.server, SERVER, listen=SERVER, port=PORT + 1), RATE):
        deadline = time.monotonic() + PATIENCE
        while True:
            readings = {name: source.read(time.monotonic()) for name, source in sources.items()}
            owners = {name: _owners_of(seen, f"{SERVER}:{PORT + 1}") for name, seen in readings.items()}
            if all(owners.values()) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    assert all(flows == [("uid-1",)] for flows in owners.values()), owners


def _owners_of(seen: Reading, destination: str) -> list[tuple[str, ...]]:
    """Of each elephant that goes there: the server's end is at a socket of this machine too, and nobody's."""
    return [one.owners for one in seen.elephants if one.destination == destination and "uid-1" in one.owners]


def test_where_the_switch_tracks_nothing_sockets_show_all(net: Switched, sources: Sources) -> None:
    net.track(zones=False)
    found = Since(net, sources)
    talk(net)
    quiet(net)
    (sent, taken), (others_sent, _) = found.pods()
    tx, rx = found.link()
    owners = found.owners(AT_SOCKETS)
    first, second = owners["uid-1"], owners["uid-2"]
    assert [first.tx_bytes, first.rx_bytes, second.tx_bytes] == pytest.approx([sent, taken, others_sent], rel=TRUE)
    assert [first.tx_bytes + second.tx_bytes, first.rx_bytes + second.rx_bytes] == pytest.approx(
        [tx, rx], rel=TRUE
    )
    for name in SOURCES:
        assert not {"uid-1", "uid-2"} & found.owners(name).keys(), name
