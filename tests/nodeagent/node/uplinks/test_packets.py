# SPDX-License-Identifier: Apache-2.0
"""Several uplinks with real packets: each is told of by what its own rules counted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from footprint.models import LinkRates
from lab.network import netns
from nodeagent.node.uplinks.finding import find_uplinks
from nodeagent.node.uplinks.kernel import MOST_ROUTES, read_interfaces, read_routes, read_tables
from nodeagent.node.uplinks.lookup import Lookups, packed
from nodeagent.preflight import probe_uplink
from tests.nodeagent.node.uplinks.measuring import BYTES, TRUE, by_name, is_quiet, is_true, measuring
from tests.nodeagent.node.uplinks.network import POD1, SERVER, STORAGE, Network, network
from tests.nodeagent.sources.ctnetlink.network import TcpPair

pytestmark = pytest.mark.netns


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


def test_a_pod_that_is_routed_by_its_address_is_booked_on_the_interface_it_leaves_by(net: Network) -> None:
    net.ip(net.node, f"rule add from {POD1} lookup 22\nroute add default via 172.31.78.2 table 22")
    net.ip(net.world, f"route add {POD1}/32 via 172.31.78.1")
    with TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as pair, measuring(net) as watched:
        told = watched.run(12, pair)
        links = by_name(told)
        assert list(links) == ["eth0", "eth1", "san0"]
        is_true(links["eth1"].el, watched.carried("eth1"))
        is_true(links["eth1"].used, watched.carried("eth1"))
        is_quiet(links["eth0"])
        is_quiet(links["san0"])
        assert (told.up, told.el, told.bad) == ("eth1", links["eth1"].el, ())


_MARKING = f"""
table ip marks {{
  chain pre {{
    type filter hook prerouting priority mangle;
    ip saddr {POD1} meta mark set 0x80
  }}
}}
"""


def mark_the_first_pods_packets(net: Network) -> None:
    """They leave by eth1, and are answered there."""
    net.ip(net.node, "rule add fwmark 0x80/0x80 lookup 22\nroute add default via 172.31.78.2 table 22")
    net.ip(net.world, f"route add {POD1}/32 via 172.31.78.1")
    with netns.entered(net.node):
        subprocess.run(["nft", "-f", "-"], input=_MARKING, text=True, check=True)


def test_a_mark_of_the_firewall_decides_and_the_links_own_counters_tell_which(net: Network) -> None:
    """As network plugins do that send some connections by the first card, whatever the pod's address says."""
    mark_the_first_pods_packets(net)
    with TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as pair, measuring(net) as watched:
        told = watched.run(12, pair)
        links = by_name(told)
        is_true(links["eth1"].el, watched.carried("eth1"))
        is_quiet(links["eth0"])
        assert (told.up, told.bad) == ("eth1", ())


def test_two_elephants_on_two_uplinks_by_mark_are_said_not_to_be_known(net: Network) -> None:
    mark_the_first_pods_packets(net)
    with (
        TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as marked,
        TcpPair(net.pod2, net.world, SERVER, listen=SERVER) as plain,
        measuring(net) as watched,
    ):
        told = watched.run(12, marked, plain)
    assert "uplink-not-known" in told.bad
    for link in told.uplinks:
        assert link.el.tx <= link.used.tx, "it is never more than the link carried"


def test_each_of_two_pods_is_booked_on_its_own_uplink(net: Network) -> None:
    with (
        TcpPair(net.pod1, net.world, STORAGE, listen=STORAGE) as stored,
        TcpPair(net.pod2, net.world, SERVER, listen=SERVER) as served,
        measuring(net) as watched,
    ):
        net.ip(net.world, f"route add {POD1}/32 via 172.31.79.1")
        links = by_name(watched.run(12, stored, served))
        is_true(links["san0"].el, watched.carried("san0"))
        is_true(links["eth0"].el, watched.carried("eth0"))
        assert "eth1" not in links, "no route leaves by it"


def test_one_pod_with_elephants_on_two_uplinks_is_shared_between_them(net: Network) -> None:
    with (
        TcpPair(net.pod1, net.world, STORAGE, listen=STORAGE) as stored,
        TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as served,
        measuring(net) as watched,
    ):
        for _ in range(12):
            served.send(2 * BYTES)
            watched.second(stored)
        assert watched.told is not None
        links = by_name(watched.told)
        for name in ("san0", "eth0"):  # acknowledgements of both come back by the default route
            assert links[name].el.tx == pytest.approx(watched.carried(name).tx, rel=TRUE)


def test_a_failover_of_the_default_route_is_noticed_within_seconds(net: Network) -> None:
    with TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as pair, measuring(net) as watched:
        assert watched.run(8, pair).up == "eth0"
        net.ip(net.node, "route replace default via 172.31.78.2")
        net.ip(net.world, "route replace 10.99.0.0/16 via 172.31.78.1")
        told = watched.run(12, pair)
        assert told.up == "eth1"
        assert told.bad == ()
        assert watched.meter.links.truth.corrected == 0
        # eth0 has no route but its own network's any more, as a pod's interface has.
        links = by_name(told)
        assert set(links) == {"eth1", "san0"}
        is_true(links["eth1"].el, watched.carried("eth1"))


def test_a_named_uplink_is_told_of_alone_and_nothing_that_leaves_elsewhere_is_booked_on_it(net: Network) -> None:
    net.ip(net.node, f"rule add from {POD1} lookup 22\nroute add default via 172.31.78.2 table 22")
    net.ip(net.world, f"route add {POD1}/32 via 172.31.78.1")
    with TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as pair, measuring(net, "eth0") as watched:
        told = watched.run(12, pair)
        assert (told.up, told.uplinks, told.el) == ("eth0", (), LinkRates())
    with TcpPair(net.pod1, net.world, SERVER, listen=SERVER) as pair, measuring(net, "eth0,eth1") as watched:
        told = watched.run(12, pair)
        assert list(by_name(told)) == ["eth0", "eth1"]
        is_true(told.el, watched.carried("eth1"))


def test_what_never_leaves_by_the_uplink_is_not_said_of_it(net: Network) -> None:
    """A guest that nobody knows of lives on the node: connection tracking cannot tell that it does."""
    net.ip(net.node, "link add guest type veth peer name inside netns " + net.world)
    net.ip(net.node, "addr add 10.88.0.1/24 dev guest\nlink set guest up")
    net.ip(net.world, "addr add 10.88.0.2/24 dev inside noprefixroute\nlink set inside up")
    net.ip(net.world, f"route add {POD1}/32 via 10.88.0.1 dev inside onlink")
    with TcpPair(net.pod1, net.world, "10.88.0.2", listen="10.88.0.2") as pair, measuring(net, "eth0") as watched:
        told = watched.run(20, pair)
        assert told.el.busier < 1e5


def test_the_preflight_names_every_uplink(net: Network) -> None:
    net.ip(net.node, f"rule add from {POD1} lookup 22\nroute add default via 172.31.78.2 table 22")
    with netns.entered(net.node):
        uplink, _ = probe_uplink(None)
    assert uplink.detail == "eth0 (default route), eth1, san0"


def test_many_routes_and_interfaces_are_read_as_far_as_the_bound_and_the_uplinks_are_found(net: Network) -> None:
    routes = "\n".join(f"route add 10.{100 + (n >> 14)}.{n >> 6 & 255}.{(n & 63) << 2}/30 via 172.31.77.2"
                       for n in range(MOST_ROUTES + 500))  # fmt: skip
    devices = "\n".join(f"link add d{n} type veth peer name e{n}" for n in range(150))
    net.ip(net.node, routes + "\n" + devices + "\nrule add from 10.99.1.2 lookup 1022")
    net.ip(net.node, "route add default via 172.31.78.2 table 1022")
    with netns.entered(net.node):
        known = read_interfaces()
        found = read_routes(read_tables(known))
        link = find_uplinks(None, None)
        card = known.by_name["eth1"].index
        assert not any(route.interface == card for route in found.main)
        by_card = read_routes(frozenset({254}), [card])
    assert any(route.interface == card for route in by_card.main), "its own network's route, behind all others"
    assert len(known.by_index) > 300
    assert found.cut
    assert len(found.main) <= 2 * MOST_ROUTES
    assert [one.interface for one in link.all][:2] == ["eth0", "eth1"]


def test_the_kernel_answers_for_both_families_by_rules_and_by_where_a_packet_comes_in(net: Network) -> None:
    net.ip(
        net.node,
        f"""rule add from {POD1} lookup 22
        route add default via 172.31.78.2 table 22
        addr add fd99:1::1/64 dev pod1 nodad
        addr add fd77::1/64 dev eth0 nodad
        addr add fd78::1/64 dev eth1 nodad
        route add default via fd77::2 dev eth0
        route add default via fd78::2 dev eth1 table 22
        route add blackhole 203.0.113.0/24""",
    )
    with netns.entered(net.node):
        subprocess.run(["ip", "-6", "rule", "add", "from", "fd99:1::2", "lookup", "22"], check=True)
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        known, kernel = read_interfaces(), Lookups()

        def way(destination: str, source: str = "", incoming: str = "") -> str | None:
            index = known.by_name[incoming].index if incoming else 0
            hop = kernel.way(packed(destination), packed(source), index)
            return known.by_index[hop.interface].name if hop else None

        assert way(SERVER) == way(SERVER, "10.99.2.2", "pod2") == way(SERVER, "172.31.78.1") == "eth0"
        assert way(SERVER, POD1, "pod1") == "eth1"
        assert way(SERVER, POD1) is None, "not an address of the node, and it came in by nothing"
        assert way("203.0.113.7") is None
        assert way(POD1) == way("fd99:1::2") == "pod1"
        assert way("2001:db8::7") == way("2001:db8::7", "fd99:1::9", "pod1") == "eth0"
        assert way("2001:db8::7", "fd99:1::2", "pod1") == "eth1"
        kernel.close()
