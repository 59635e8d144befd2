# SPDX-License-Identifier: Apache-2.0
"""A pod behind a netkit device instead of a veth, which kernels have from 6.7 on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from lab.network import netns
from nodeagent.node.steering import described, read_steering
from nodeagent.preflight import probe_steering
from nodeagent.sources.findings import Presence
from tests.kernel.guest.datapath import device, redirected
from tests.kernel.guest.measuring import LENIENT
from tests.kernel.guest.network import LOCALITY, PORT, SERVER4, Network, network, run_ip
from tests.kernel.guest.scenario_cgroup import FENTRY, Sources, counted, elephant, pods_elephant, read, talk, until
from tests.kernel.guest.sources import AT_SOCKETS, opened

pytestmark = pytest.mark.one_kernel  # the older one has no such device


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """Pod 1 has its addresses at a netkit device of the veth's name."""
    with network() as made:
        run_ip(made.node, "link del pod1")
        with netns.entered(made.node):  # the guest's ip knows no netkit: no peer's name, and no options
            subprocess.run(["ip", "link", "add", "pod1", "type", "netkit"], check=True)
        run_ip(made.node, f"""link set nk0 netns {made.pod1} name eth0
            addr add 10.99.1.1/24 dev pod1
            link set pod1 up""")  # fmt: skip
        run_ip(made.pod1, """addr add 10.99.1.2/24 dev eth0
            link set eth0 up
            route add default via 10.99.1.1""")  # fmt: skip
        yield made


@pytest.fixture(scope="module")
def both(net: Network) -> Iterator[Sources]:
    with opened((FENTRY, AT_SOCKETS), net.node, LENIENT, LOCALITY) as made:
        yield made


def test_where_the_nodes_stack_forwards_both_sources_count_every_byte(net: Network, both: Sources) -> None:
    net.quiet()
    before, truth = read(both), net.counted()
    talk(net.pod1, net.server, SERVER4, up=2_000_000, down=100_000)
    talk(net.server, net.pod1, "10.99.1.2", up=40_000, down=400)
    net.quiet()
    now, found = net.counted(), counted(before, both)
    mine, theirs = found[AT_SOCKETS]["uid-1"], found[FENTRY]["uid-1"]
    carried = (now["in_pod1"] - truth["in_pod1"], now["out_pod1"] - truth["out_pod1"])
    assert (mine.tx_bytes, mine.rx_bytes) == (theirs.tx_bytes, theirs.rx_bytes) == carried
    assert mine.tx_bytes > 2_000_000
    assert (mine.flows_born, theirs.flows_born) == (2, 2)


def test_where_a_program_at_the_device_redirects_sockets_show_all(net: Network, both: Sources) -> None:
    with redirected(net, netkit="pod1"):
        net.quiet()
        net.flush()
        before, then = read(both), device(net.pod1)
        with elephant(net):
            for _ in range(20):
                talk(net.pod1, net.server, SERVER4, port=PORT, up=200, down=1_000)
            assert until(lambda: len(pods_elephant(both[AT_SOCKETS])) == 1)
        net.quiet()
        now, found = device(net.pod1), counted(before, both)
    mine = found[AT_SOCKETS]["uid-1"]
    assert (mine.flows_born, mine.flows_ended, mine.mice_ended) == (21, 21, 20)
    assert [mine.tx_bytes, mine.rx_bytes] == pytest.approx(
        [late - early for late, early in zip(now, then, strict=True)], rel=0.02
    )
    assert "uid-1" not in found[FENTRY]


def test_the_preflight_names_the_device_and_its_program(net: Network) -> None:
    with redirected(net, netkit="pod1"), netns.entered(net.node):
        said = described(one for one in read_steering() if one.interface == "pod1")
        found = probe_steering("uplink")
    assert said == "the netkit device pod1, from_pod at netkit peer of pod1"
    assert found.answer is Presence.UNKNOWN
    assert "the netkit device pod1" in found.detail
