# SPDX-License-Identifier: Apache-2.0
"""What is told of links, held against their own counters: simulated streams, second by second."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from footprint.models import LinkRates, NodeFootprint, Uplink
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.links import Links
from nodeagent.measuring.shares import BookedFlow, settled
from nodeagent.measuring.truth import COUNTED_TOO_MUCH
from nodeagent.node.link import Link, LinkCounters
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import HOST, UNATTRIBUTED, Counters, Elephant, Reading

POD = LocalPod("u", "shop", "dump", "Job/dump", addresses=(b"\x0a\0\0\7",))
ETH0 = Link("eth0", LinkRates(100e6, 100e6))
ETH1 = Link("eth1", LinkRates(1e9, 1e9))
BOTH = Link("eth0", LinkRates(100e6, 100e6), others=(ETH1,))


@dataclass
class Node:
    """Owners send, interfaces carry; rates in bit/s."""

    link: Link = ETH0
    links: Links = field(default_factory=Links)
    owners: Aggregator = field(default_factory=lambda: Aggregator("test"))
    counted: dict[str, Counters] = field(default_factory=dict)
    carried: dict[str, list[int]] = field(default_factory=dict)
    now: float = 100.0
    elephant_since: float | None = None
    told: NodeFootprint | None = None

    def second(
        self,
        sent: dict[str, tuple[float, float]],
        carried: dict[str, tuple[float, float]],
        *,
        uplink: str | None = "eth0",
        seconds: float = 1.0,
        late: float = 0.0,
        gone: tuple[str, ...] = (),
        large: bool = True,
    ) -> NodeFootprint | None:
        """One reading. ``sent``: by owner, all by elephants if ``large``; ``late``: how much later interfaces are
        read."""
        self.now += seconds
        if self.elephant_since is None:
            self.elephant_since = self.now
        for owner, (tx, rx) in sent.items():
            counters = self.counted.get(owner, Counters())
            self.counted[owner] = Counters(
                counters.tx_bytes + int(tx * seconds / 8), counters.rx_bytes + int(rx * seconds / 8),
                tx_elephant_bytes=counters.tx_elephant_bytes + int(tx * seconds / 8) * large,
                rx_elephant_bytes=counters.rx_elephant_bytes + int(rx * seconds / 8) * large,
            )  # fmt: skip
        for name, rates in carried.items():
            total = self.carried.setdefault(name, [0, 0])
            for way in (0, 1):
                total[way] += int(rates[way] * (seconds + late) / 8)
        flows = tuple(
            Elephant((owner,), 6, "a", "b", 0, max(rates), self.elephant_since)
            for owner, rates in sent.items()
            if large
        )
        reading = Reading(self.now, 1, dict(self.counted), flows)
        footprint = self.owners.advance(reading, {"u": POD}, self.link.capacity, scale=self.links.truth.scale)
        booked = [BookedFlow(owner, uplink, max(rates)) for owner, rates in sent.items() if large]
        counters_of = {n: LinkCounters(*c) for n, c in self.carried.items() if n not in gone}
        self.links.advance(self.link, counters_of, self.owners, booked, self.now)
        self.told = self.links.told(footprint) if footprint is not None else None
        return self.told

    def run(self, seconds: int, *args: object, **kwargs: object) -> NodeFootprint:
        for _ in range(seconds):
            self.second(*args, **kwargs)  # type: ignore[arg-type]  # handed on
            if self.told is not None:
                assert_true(self.told)
        assert self.told is not None
        return self.told


def assert_true(told: NodeFootprint) -> None:
    """On the wire nothing of elephants exceeds what the link carried."""
    links: tuple[NodeFootprint | Uplink, ...] = (told, *told.uplinks)
    for link in links:
        assert link.el.tx <= link.used.tx or link.used == LinkRates()
        assert link.el.rx <= link.used.rx or link.used == LinkRates()


def test_an_honest_node_is_told_of_as_it_was_counted() -> None:
    told = Node().run(60, {"u": (40e6, 1e6)}, {"eth0": (41e6, 1.1e6)})
    assert told.bad == ()
    assert told.up == "eth0"
    assert told.uplinks == ()
    assert told.el.tx == pytest.approx(40e6, rel=1e-3)
    assert told.used.tx == pytest.approx(41e6, rel=1e-3)


def test_what_is_counted_twice_is_said_and_scaled_down_to_what_the_link_carried() -> None:
    node = Node()
    told = node.run(40, {"u": (40e6, 2e6), HOST: (40e6, 2e6)}, {"eth0": (40e6, 2e6)})
    assert told.bad == (COUNTED_TOO_MUCH,)
    assert told.el.tx <= told.used.tx == pytest.approx(40e6, rel=1e-3)
    assert told.pods[0].tx + told.host.tx == pytest.approx(40e6, rel=0.02)
    assert told.pods[0].rx + told.host.rx == pytest.approx(2e6, rel=0.02)
    assert node.links.truth.corrected > 20
    assert node.links.coverage.all.ratio == pytest.approx(2, rel=0.01), "the ratio stays visible"


def test_the_reason_goes_half_a_minute_after_all_is_well_and_figures_recover_before() -> None:
    node = Node()
    node.run(40, {"u": (40e6, 0), HOST: (40e6, 0)}, {"eth0": (40e6, 0)})
    assert node.run(25, {"u": (40e6, 0)}, {"eth0": (41e6, 0)}).bad == (COUNTED_TOO_MUCH,)
    told = node.run(60, {"u": (40e6, 0)}, {"eth0": (41e6, 0)})
    assert told.bad == ()
    assert told.pods[0].tx == pytest.approx(40e6, rel=1e-3)


def test_interfaces_that_are_read_a_little_later_or_count_seldom_are_no_excess() -> None:
    node, reasons = Node(), set()
    for second in range(120):
        rate = 80e6 if second // 7 % 2 else 0.0  # bursts
        twice = 2 if second % 2 else 0  # a driver that renews its counters every other second
        told = node.second({"u": (rate, 0)}, {"eth0": (rate * twice, 0)})
        reasons |= set(told.bad) if told else set()
    assert COUNTED_TOO_MUCH not in reasons
    assert node.links.truth.corrected == 0


def test_a_beginning_is_told_at_once_although_the_links_mean_was_low() -> None:
    node = Node()
    node.run(20, {}, {"eth0": (1e6, 0)})
    node.elephant_since = node.now
    told = node.run(2, {"u": (40e6, 0)}, {"eth0": (41e6, 0)})
    assert told.el.tx == pytest.approx(40e6, rel=0.03)


def test_counters_that_start_over_and_renames_and_absence_change_no_figure_of_owners() -> None:
    node = Node()
    node.run(30, {"u": (40e6, 0)}, {"eth0": (41e6, 0)})
    node.carried["eth0"] = [0, 0]  # the driver was loaded anew
    assert node.run(3, {"u": (40e6, 0)}, {"eth0": (41e6, 0)}).bad == ()
    told = node.run(1, {"u": (40e6, 0)}, {}, gone=("eth0",))
    assert (told.bad, told.used) == ((), LinkRates())
    node.link = Link("ens5", ETH0.capacity)
    told = node.run(3, {"u": (40e6, 0)}, {"ens5": (41e6, 0)}, uplink="ens5")
    assert (told.up, told.bad) == ("ens5", ())
    assert told.el.tx == pytest.approx(40e6, rel=0.01)


def test_a_failover_of_the_default_route_moves_everything_without_a_false_word() -> None:
    node = Node(link=BOTH)
    node.run(30, {"u": (40e6, 0)}, {"eth0": (41e6, 0), "eth1": (0, 0)})
    # The new route is noticed two seconds late.
    node.run(2, {"u": (40e6, 0)}, {"eth0": (0, 0), "eth1": (41e6, 0)})
    node.link = Link("eth1", ETH1.capacity, others=(ETH0,))
    told = node.run(20, {"u": (40e6, 0)}, {"eth0": (0, 0), "eth1": (41e6, 0)}, uplink="eth1")
    assert (told.up, told.bad) == ("eth1", ())
    assert told.el.tx == pytest.approx(40e6, rel=0.02)
    assert {link.name: round(link.el.tx / 1e6) for link in told.uplinks} == {"eth0": 0, "eth1": 40}


def test_elephants_are_booked_on_the_uplink_that_they_leave_by() -> None:
    told = Node(link=BOTH).run(30, {"u": (40e6, 1e6)}, {"eth0": (0, 0), "eth1": (41e6, 1e6)}, uplink="eth1")
    assert told.bad == ()
    eth0, eth1 = told.uplinks
    assert (eth0.el, eth0.used) == (LinkRates(), LinkRates())
    assert eth1.el.tx == pytest.approx(40e6, rel=0.01)
    assert (told.up, told.cap, told.el) == ("eth1", ETH1.capacity, eth1.el)


def test_the_node_is_told_of_by_the_link_that_elephants_use_most_and_does_not_waver() -> None:
    node = Node(link=BOTH)
    told = node.run(20, {"u": (40e6, 0)}, {"eth0": (41e6, 0), "eth1": (0, 0)})
    assert told.up == "eth0"
    ups = set()
    for second in range(40):
        uplink = "eth1" if second % 20 > 10 else "eth0"
        eth0, eth1 = ((41e6, 0.0), (0.0, 0.0)) if uplink == "eth0" else ((0.0, 0.0), (41e6, 0.0))
        told = node.run(1, {"u": (40e6, 0)}, {"eth0": eth0, "eth1": eth1}, uplink=uplink)
        ups.add(told.up)
    assert ups == {"eth0", "eth1"}
    told = node.run(20, {}, {"eth0": (0, 0), "eth1": (0, 0)})
    assert told.up == "eth0", "without elephants the default route's"


def test_what_leaves_by_an_uplink_that_was_not_named_is_not_of_this_link_and_no_excess() -> None:
    told = Node().run(60, {"u": (40e6, 1e6)}, {"eth0": (0, 0)}, uplink=None)
    assert told.el == LinkRates()
    assert told.pods[0].tx == pytest.approx(40e6, rel=0.01)


def test_what_was_scaled_to_nothing_comes_back_once_it_is_known_to_leave_elsewhere() -> None:
    node = Node()
    assert node.run(20, {"u": (40e6, 1e6)}, {"eth0": (0, 0)}, large=False).bad == (COUNTED_TOO_MUCH,)
    assert node.links.truth.scale.tx == 0
    node.elephant_since = None
    told = node.run(90, {"u": (40e6, 1e6)}, {"eth0": (0, 0)}, uplink=None)
    assert told.bad == ()
    assert told.pods[0].tx == pytest.approx(40e6, rel=0.01)
    assert told.el == LinkRates()


@pytest.mark.parametrize("counted", [(30e6, 0.0), (0.0, 30e6)])
def test_traffic_of_nobody_has_the_direction_that_the_link_says(counted: tuple[float, float]) -> None:
    told = Node().run(40, {UNATTRIBUTED: counted}, {"eth0": (0.1e6, 31e6)})
    assert told.bad == ()
    assert told.el.rx == pytest.approx(30e6, rel=0.02)
    assert told.el.tx <= 0.2e6


def test_without_an_interface_there_is_nothing_to_hold_figures_against() -> None:
    told = Node(link=Link(None, LinkRates())).run(20, {"u": (40e6, 0)}, {})
    assert (told.up, told.bad, told.used) == ("", (), LinkRates())
    assert told.el.tx == pytest.approx(40e6, rel=0.01)


VLAN5 = Link("bond0.5", LinkRates(1e8, 1e8), carriers=("eth0",))
VLAN6 = Link("bond0.6", LinkRates(1e8, 1e8), carriers=("eth0",))


def test_vlans_of_one_wire_are_told_of_each_and_the_node_by_the_wire() -> None:
    node = Node(link=Link("bond0.5", LinkRates(1e8, 1e8), carriers=("eth0",), others=(VLAN6,)))
    carried = {"bond0.5": (0.0, 0.0), "bond0.6": (61e6, 1e6)}
    told = node.run(30, {"u": (60e6, 1e6)}, carried, uplink="bond0.6")
    vlan5, vlan6 = told.uplinks
    assert vlan5.el.tx == 0
    assert vlan6.el.tx == pytest.approx(60e6, rel=0.01)
    assert told.el.tx == pytest.approx(60e6, rel=0.01), "whichever is told of, the wire is that much in use"
    assert vlan5.wire_el == vlan6.wire_el == told.el
    assert vlan5.wire == vlan6.wire == told.used
    assert told.used.tx == pytest.approx(61e6, rel=0.01)


def test_a_vlan_and_its_parent_are_not_counted_twice() -> None:
    parent = Link("eth0", LinkRates(1e8, 1e8), carriers=("eth0",))
    node = Node(link=Link("bond0.5", LinkRates(1e8, 1e8), carriers=("eth0",), others=(parent,)))
    carried = {"bond0.5": (60e6, 1e6), "eth0": (61e6, 1e6)}
    told = node.run(60, {"u": (59e6, 1e6)}, carried, uplink="bond0.5")
    assert told.bad == ()
    assert node.links.coverage.all.ratio == pytest.approx(60 / 62, rel=0.01)
    assert told.used.tx == pytest.approx(61e6, rel=0.01)
    assert told.el.tx == pytest.approx(59e6, rel=0.01)


@pytest.mark.parametrize(
    ("carried", "uplink", "sure"),
    [
        ({}, "eth0", True),
        ({"eth0": LinkRates(9e6, 0.0)}, "eth0", True),
        ({"eth0": LinkRates(1e5, 0.0), "eth1": LinkRates(0.0, 9e6)}, "eth1", True),
        ({"eth0": LinkRates(9e6, 0.0), "eth1": LinkRates(9e6, 0.0)}, "eth0", False),
        ({"eth0": LinkRates(1e5, 0.0), "eth1": LinkRates(1e5, 0.0)}, "eth0", True),
    ],
)
def test_a_flow_that_a_mark_may_lead_elsewhere_is_where_its_bytes_are(
    carried: dict[str, LinkRates], uplink: str, *, sure: bool
) -> None:
    flow = BookedFlow("u1", "eth0", 1e7, ("eth1", None))
    assert settled(flow, carried) == (BookedFlow("u1", uplink, 1e7), sure)
    plain = BookedFlow("u1", None, 1e7)
    assert settled(plain, carried) == (plain, True)
