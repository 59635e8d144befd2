# SPDX-License-Identifier: Apache-2.0
"""The source at sockets: beside the hooks on conntrack, and where those see nothing.

It counts the whole machine's sockets, the server's too, which are nobody's here. So owners are compared by name.
tests/nodeagent/sources/cgroup has what does not depend on the kernel.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodeagent.sources.base import HOST, Counters, FlowSource, Reading
from nodeagent.sources.cgroup import root
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType
from tests.kernel.guest.datapath import device, redirected
from tests.kernel.guest.measuring import LENIENT, PATIENCE, since
from tests.kernel.guest.network import (
    LOCALITY,
    MASQUERADED,
    NEAR_SERVICE4,
    POD1_4,
    POD1_6,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SILENT_PORTS,
    Network,
    network,
)  # fmt: skip
from tests.kernel.guest.process import Agent, agent
from tests.kernel.guest.scenario_capabilities import GRANTED, only, refusals
from tests.kernel.guest.sources import AT_SOCKETS, EBPF, opened
from tests.kernel.guest.traffic import Connection, Stream, exchange, scatter

FENTRY = EBPF[0]
OWNERS = ("uid-1", "uid-2", "uid-3", HOST)
MICE = 150
RATE = 3_000_000
ROOT = Path("/sys/fs/cgroup")
ANSWER_6 = 80
"""Bytes of a SYN-ACK over IPv6 ..."""
SEES_ANSWERS_6 = not platform.release().startswith("6.1.")
"""... which kernel 6.1 runs no cgroup program for, and 6.12 does."""

Sources = Mapping[str, FlowSource]
Readings = dict[str, Reading]


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def both(net: Network) -> Iterator[Sources]:
    with opened((FENTRY, AT_SOCKETS), net.node, LENIENT, LOCALITY) as made:
        yield made


def read(sources: Sources) -> Readings:
    return {name: source.read(time.monotonic()) for name, source in sources.items()}


def counted(before: Readings, sources: Sources) -> dict[str, dict[str, Counters]]:
    """What each counted since; without packets, which the hooks count once for each merged run, and lifetimes."""
    found = {}
    for name, reading in read(sources).items():
        owners = since(before[name], reading)
        found[name] = {
            owner: replace(owners[owner], tx_packets=0, rx_packets=0, lifetimes=[])
            for owner in OWNERS
            if owner in owners
        }
    return found


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds()


def talk(client: str, server: str, target: str, *, listen: str = "", port: int = PORT, up: int, down: int) -> None:
    with Connection(client, server, target, listen=listen or target, port=port) as connection:
        connection.send(up)
        connection.answer(down)
        connection.finish()


@contextmanager
def elephant(net: Network) -> Iterator[None]:
    connection = Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 3)
    with Stream(connection, RATE) as stream:
        yield
        stream.stop()
        connection.finish()


def test_side_by_side_with_the_hooks_on_conntrack_every_byte_is_the_same(net: Network, both: Sources) -> None:
    net.quiet()
    net.flush()
    before, truth = read(both), net.counted()
    talk(net.pod1, net.server, SERVER4, up=2_000_000, down=100_000)
    talk(net.pod1, net.server, SERVER6, up=10_000, down=200_000)
    talk(net.pod3, net.server, SERVICE4, listen=SERVER4, up=30_000, down=3_000)
    talk(net.pod2, net.server, SERVER4, port=MASQUERADED, up=3_000, down=30_000)
    talk(net.server, net.pod1, POD1_4, up=40_000, down=400)
    talk(net.pod2, net.pod1, POD1_6, up=50_000, down=5_000)
    talk(net.pod2, net.pod1, NEAR_SERVICE4, listen=POD1_4, up=60_000, down=6_000)
    talk(net.node, net.server, SERVER4, up=70_000, down=7_000)
    exchange(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT, sizes=[10, 1400])
    scatter(net.pod3, SERVER4, ports=range(SILENT_PORTS[0], SILENT_PORTS[0] + 20), sizes=range(1, 21))
    net.quiet()
    carried = net.counted()
    found = counted(before, both)
    alike = {
        name: {owner: replace(c, flows_ended=0, mice_ended=0, sizes=[]) for owner, c in owners.items()}
        for name, owners in found.items()
    }
    if not SEES_ANSWERS_6:  # pod 1 accepted one connection over IPv6
        alike[AT_SOCKETS]["uid-1"].local_bytes += ANSWER_6
    assert alike[AT_SOCKETS] == alike[FENTRY]
    uplink = carried["out_uplink"] - truth["out_uplink"], carried["in_uplink"] - truth["in_uplink"]
    sums = [sum(getattr(c, way) for c in found[AT_SOCKETS].values()) for way in ("tx_bytes", "rx_bytes")]
    assert tuple(sums) == uplink


def pods_elephant(source: FlowSource) -> set[tuple[str, str]]:
    """The ends of what is an elephant of pod 1 alone. At sockets the server's end is seen too: until the pod's is
    an elephant as well, it is one of nobody known."""
    elephants = source.read(time.monotonic()).elephants
    return {(seen.source, seen.destination) for seen in elephants if seen.owners == ("uid-1",)}


def test_whole_lives_are_the_same_to_both(net: Network, both: Sources) -> None:
    net.quiet()
    net.flush()
    before = read(both)
    with elephant(net):
        for _ in range(MICE):
            talk(net.pod1, net.server, SERVER4, up=200, down=1_000)
        assert until(lambda: pods_elephant(both[FENTRY]) == pods_elephant(both[AT_SOCKETS]) != set())
        assert until(lambda: all(c["uid-1"].tx_elephant_bytes > RATE for c in counted(before, both).values()))
    net.quiet()
    net.flush()  # which ends conntrack's
    assert until(lambda: all(c["uid-1"].flows_ended == MICE + 1 for c in counted(before, both).values()))
    found = counted(before, both)
    mine, theirs = found[AT_SOCKETS]["uid-1"], found[FENTRY]["uid-1"]
    assert _timeless(mine) == _timeless(theirs)
    assert (mine.flows_born, mine.mice_ended, sum(mine.sizes)) == (MICE + 1, MICE, MICE + 1)
    assert all(RATE < counters.tx_elephant_bytes < counters.tx_bytes for counters in (mine, theirs))
    assert read(both)[AT_SOCKETS].lost == {}


def _timeless(counters: Counters) -> Counters:
    """Without what depends on the moment at which each found the elephant."""
    return replace(counters, tx_elephant_bytes=0, rx_elephant_bytes=0)


def test_under_a_redirecting_datapath_conntrack_has_nothing_and_sockets_all(net: Network, both: Sources) -> None:
    with redirected(net):
        net.quiet()
        net.flush()
        before, then = read(both), device(net.pod1)
        with elephant(net):
            for _ in range(20):
                talk(net.pod1, net.server, SERVER4, up=200, down=1_000)
            assert until(lambda: len(pods_elephant(both[AT_SOCKETS])) == 1)
        net.quiet()
        now, found = device(net.pod1), counted(before, both)
        mine = found[AT_SOCKETS]["uid-1"]
        assert (mine.flows_born, mine.flows_ended, mine.mice_ended) == (21, 21, 20)
        assert [mine.tx_bytes, mine.rx_bytes] == pytest.approx(
            [late - early for late, early in zip(now, then, strict=True)], rel=0.02
        )
        talk(net.pod2, net.pod1, POD1_4, up=50_000, down=5_000)
        net.quiet()
        found = counted(before, both)
        assert found[AT_SOCKETS]["uid-1"].local_bytes == found[AT_SOCKETS]["uid-2"].local_bytes > 55_000
        assert not {"uid-1", "uid-2"} & found[FENTRY].keys()


@pytest.mark.parametrize("held", [("bpf", "perfmon", "net_admin"), GRANTED], ids=",".join)
def test_these_capabilities_are_enough_and_nothing_is_left_at_the_root(
    net: Network, held: tuple[str, ...]
) -> None:
    before = programs()
    with agent(net, AT_SOCKETS, privileges=only(held)) as limited:
        first = limited.read()
        assert first.get("mode") == "cgroup", first
        talk(net.pod1, net.server, SERVER4, up=50_000, down=10)
        net.quiet()
        assert limited.read()["owners"]["uid-1"][0] > 50_000
        assert limited.end() == 0
    assert until(lambda: programs() == before)


def programs() -> list[tuple[int, ...]]:
    with root.opened(ROOT) as descriptor:
        return [
            bpf.query_cgroup(descriptor, kind).programs
            for kind in (AttachType.CGROUP_INGRESS, AttachType.CGROUP_EGRESS)
        ]


def test_a_killed_agents_successor_goes_on_with_its_elephant(net: Network) -> None:
    with elephant(net):
        with agent(net, AT_SOCKETS) as first:
            seen, begun = _shown(first)
            first.kill()
        with agent(net, AT_SOCKETS) as second:
            found, still = _shown(second)
            assert found["adopted"]
            assert still == begun, "the same, since the same moment"
            assert found["owners"]["uid-1"][0] > seen["owners"]["uid-1"][0]
            assert second.end() == 0


def _shown(running: Agent) -> tuple[dict[str, Any], list[float]]:
    """An answer with the pod's elephant, and since when. The server's end is at a socket of this machine too: it
    is an elephant of nobody known, and becomes one a little earlier or later."""
    answers: list[dict[str, Any]] = []

    def pods() -> list[float]:
        return [since for owner, since in answers[-1]["elephants"] if owner == "uid-1"]

    def asked() -> bool:
        answers.append(running.read())
        return bool(pods())

    assert until(asked), answers[-1]
    return answers[-1], pods()


def test_without_one_of_the_three_the_refusal_names_it(net: Network) -> None:
    lacking = {"bpf": "perfmon,net_admin", "perfmon": "bpf,net_admin", "net_admin": "bpf,perfmon"}
    said = refusals(net, AT_SOCKETS, *lacking.values())
    for name, held in lacking.items():
        assert f"CAP_{name.upper()}" in said[held]
