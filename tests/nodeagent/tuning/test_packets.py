# SPDX-License-Identifier: Apache-2.0
"""Marks and rules with real connections: which class packets leave by, what the peer receives, what stays."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.tuning.modes import Mode, Refusal
from nodeagent.tuning.untune import take_back
from tests.nodeagent.sources.ctnetlink.network import (
    SERVER4,
    SERVER6,
    SERVICE4,
    SERVICE6,
    Network,
    network,
)
from tests.nodeagent.tuning.tuned import BIT, BULK, CHUNK, MICE, Node, Wire, pair, tuned

pytestmark = pytest.mark.netns
CALICO, ISTIO = 0x0001_0000, 0x111
OTHERS = CALICO | ISTIO


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with network() as net, tuned(net, tmp_path) as made:
        yield made


def foreign_marks(net: Network, value: int, of: str = "") -> None:
    """Somebody else's rules, which set their bits on every connection, or those ``of`` a match."""
    rules = (
        f"table inet others {{ chain f {{ type filter hook forward priority 0; {of} ct mark set {value:#x}; }}; }}"
    )
    with netns.entered(net.node):
        subprocess.run(["nft", rules], check=True)


def test_elephants_leave_by_their_class_and_mice_do_not(node: Node) -> None:
    part, wire = node.part(priority=BULK, lower_effort=True), Wire(node.net)
    with pair(node.net) as big, pair(node.net, port=8010) as small:
        flows = node.feed(big)
        before = node.classes()
        assert before[1] == 0
        node.advance(part, flows)
        assert part.status.refusal is None
        assert (node.mark_of(big), node.mark_of(small)) == (BIT, 0)
        ports = [one.client.getsockname()[1] for one in (big, small)]
        wire.seen(ports[0])
        big.send(CHUNK)
        small.send(1000)
        after = node.classes()
        assert after[1] >= CHUNK
        assert 1000 <= after[0] - before[0] < CHUNK / 10
        assert wire.seen(ports[0]) == {1}
        small.send(1000)
        assert wire.seen(ports[1]) == {0}
        node.withdraw(part)
        big.send(CHUNK)
        assert node.classes()[1] == after[1]
        assert wire.seen(ports[0]) == {0}
    wire.close()


def test_by_default_elephants_packets_are_bulk_to_the_kernel(node: Node) -> None:
    seen = "table inet seen { chain s { type filter hook postrouting priority 400; meta priority 0:2 counter; }; }"
    node.run("nft", seen)
    part = node.part()
    with pair(node.net) as big:
        node.advance(part, node.feed(big))
        big.send(CHUNK)
        counted = re.search(r"bytes (\d+)", node.run("nft", "list", "table", "inet", "seen"))
        assert counted is not None
        assert int(counted[1]) >= CHUNK
        node.withdraw(part)


def test_a_class_that_somebody_else_chose_stays(node: Node) -> None:
    node.run(
        "nft",
        f'table inet other {{ chain c {{ type filter hook forward priority 0; meta priority set "{MICE}"; }}; }}',
    )
    part, wire = node.part(priority=BULK, lower_effort=True), Wire(node.net)
    with pair(node.net) as big:
        big.client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 46 << 2)
        node.advance(part, node.feed(big))
        port = big.client.getsockname()[1]
        wire.seen(port)
        big.send(CHUNK)
        assert node.classes()[1] == 0
        assert wire.seen(port) == {46}
        node.withdraw(part)
    wire.close()


@pytest.mark.parametrize(
    ("address", "listen", "port"),
    [(SERVER4, SERVER4, 8000), (SERVER4, SERVER4, 8001), (SERVICE4, SERVER4, 8000), (SERVICE4, SERVER4, 8001),
     (SERVER6, SERVER6, 8000), (SERVICE6, SERVER6, 8000), (SERVICE6, SERVER6, 8001)],
    ids=["plain", "masqueraded", "service", "both", "plain-6", "service-6", "both-6"],
)  # fmt: skip
def test_the_connection_of_an_elephant_is_found_behind_translation(
    node: Node, address: str, listen: str, port: int
) -> None:
    part = node.part()
    with pair(node.net, port=8010), pair(node.net, address, listen, port) as big:
        flows = node.feed(big)
        node.advance(part, flows)
        assert node.mark_of(big) == BIT
        assert sum(bool(mark & BIT) for mark in node.marks().values()) == 1
        node.withdraw(part)
        assert node.mark_of(big) == 0


def test_marks_of_others_stay_and_everything_is_restored(node: Node) -> None:
    foreign_marks(node.net, OTHERS)
    with pair(node.net) as big, pair(node.net, port=8010) as small:
        flows = node.feed(big)
        node.run("nft", "delete", "table", "inet", "others")  # it would write the whole mark at every packet
        before = node.ruleset(), node.marks()
        part = node.part()
        node.advance(part, flows)
        assert node.mark_of(big) == OTHERS | BIT
        assert node.mark_of(small) == OTHERS
        node.withdraw(part)
        assert (node.ruleset(), node.marks()) == before
    assert not list(node.folder.glob("*.json"))


def test_the_mark_goes_when_the_flow_is_no_elephant_any_more(node: Node) -> None:
    part = node.part()
    with pair(node.net) as big:
        node.advance(part, node.feed(big))
        assert node.mark_of(big) == BIT
        node.advance(part, node.elephants(like=lambda found: not found))
        assert node.mark_of(big) == 0
        assert part.status.flows == ()
        node.withdraw(part)


def test_a_bit_that_others_use_is_refused_by_name_and_taken_back(node: Node) -> None:
    with pair(node.net) as big, pair(node.net, port=8010) as small:
        flows = node.feed(big)
        part = node.part()
        node.advance(part, flows)
        foreign_marks(node.net, BIT, "tcp dport 8010")
        small.send(1)
        with netns.entered(node.net.node):
            part.advance(flows, 1e9)  # the next check is due
        assert part.status.refusal is Refusal.MARK_IN_USE
        assert (node.mark_of(big), node.mark_of(small)) == (0, BIT)
        assert "traffic_footprint" not in node.ruleset()


def test_what_somebody_changed_since_is_left_and_said(node: Node) -> None:
    with pair(node.net) as big:
        part = node.part()
        node.advance(part, node.feed(big))
        node.run("nft", "add", "rule", "inet", "traffic_footprint", "elephants", "counter")
        node.withdraw(part)
        assert "traffic_footprint" in node.ruleset()
        assert "somebody changed it" in part.status.left[0]
        assert node.mark_of(big) == 0


def test_a_table_of_the_same_name_is_left_alone(node: Node) -> None:
    node.run("nft", "add", "table", "inet", "traffic_footprint")
    before = node.ruleset()
    part = node.part()
    node.advance(part, ())
    assert part.status.refusal is Refusal.TABLE_EXISTS
    node.withdraw(part)
    assert node.ruleset() == before


def test_advice_changes_nothing_and_says_what_would_be_done(node: Node) -> None:
    with pair(node.net) as big:
        flows = node.feed(big)
        before = node.ruleset(), node.marks()
        advice = node.part(Mode.ADVISE, lower_effort=True)
        node.advance(advice, flows)
        assert (node.ruleset(), node.marks()) == before
        assert not list(node.folder.iterdir())
        part = node.part(lower_effort=True)
        node.advance(part, flows)
        assert (part.status.rules, part.status.flows) == (advice.status.rules, advice.status.flows)
        assert BIT in node.marks().values()
        node.withdraw(part)
        node.withdraw(advice)
        assert (node.ruleset(), node.marks()) == before


_CRASHES = textwrap.dedent("""
    import os, signal, sys, time
    from pathlib import Path
    from nodeagent.tuning.flows import Flow, parse_end
    from nodeagent.tuning.modes import Mode, PriorityOptions
    from nodeagent.tuning.part import PriorityPart
    part = PriorityPart(PriorityOptions(mode=Mode.APPLY), Path(sys.argv[1]), lambda: ["uplink"])
    part.advance((Flow(6, parse_end(sys.argv[2]), parse_end(sys.argv[3])),), time.monotonic())
    assert part.status.flows, part.status
    os.kill(os.getpid(), signal.SIGKILL)
""")


@pytest.mark.parametrize("by", ["the next start", "untune"])
def test_a_killed_agents_tuning_is_taken_back(node: Node, by: str) -> None:
    foreign_marks(node.net, OTHERS)
    with pair(node.net) as big:
        [flow] = node.feed(big)
        node.run("nft", "delete", "table", "inet", "others")
        before = node.ruleset(), node.marks()
        with netns.entered(node.net.node):
            ended = subprocess.run(
                [sys.executable, "-c", _CRASHES, node.folder, str(flow.initiator), str(flow.responder)],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
        assert ended.returncode == -9, ended.stderr
        assert "traffic_footprint" in node.ruleset()
        assert node.mark_of(big) == OTHERS | BIT
        if by == "untune":
            with netns.entered(node.net.node):
                found = take_back(node.folder)
            assert (len(found.lines), found.problems) == (2, [])
        else:
            part = node.part()
            node.advance(part, ())
            assert node.mark_of(big) == OTHERS
            node.withdraw(part)
        assert (node.ruleset(), node.marks()) == before
        assert not list(node.folder.glob("*.json"))


def test_untune_leaves_what_a_running_agent_holds(node: Node) -> None:
    with pair(node.net) as big:
        part = node.part()
        node.advance(part, node.feed(big))
        with netns.entered(node.net.node):
            found = take_back(node.folder)
        assert "an agent that runs" in found.problems[0]
        assert node.mark_of(big) == BIT
        node.withdraw(part)


def test_marks_are_bounded_by_the_second(node: Node) -> None:
    part = node.part(marks_a_second=1.0)
    with pair(node.net) as one, pair(node.net, port=8010) as two:
        flows = tuple(dict.fromkeys((*node.feed(one), *node.feed(two))))
        assert len(flows) == 2
        with netns.entered(node.net.node):
            part.advance(flows, 100.0)
            assert (len(part.status.flows), part.status.waiting) == (1, 1)
            part.advance(flows, 101.0)
            assert (len(part.status.flows), part.status.waiting) == (2, 0)
        node.withdraw(part)
