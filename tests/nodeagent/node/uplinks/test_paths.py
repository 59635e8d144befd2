# SPDX-License-Identifier: Apache-2.0
"""Which uplink a flow is booked on."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest

from footprint.models import LinkRates
from nodeagent.node.link import Link
from nodeagent.node.uplinks.interfaces import Interface, Interfaces
from nodeagent.node.uplinks.lookup import Lookups, NextHop, packed, parse_answer
from nodeagent.node.uplinks.paths import MOST_ASKED, MOST_KNOWN, Paths
from nodeagent.sources.base import Elephant

KNOWN = Interfaces([
    Interface(1, "eth0"), Interface(2, "eth1"), Interface(3, "eth2"), Interface(4, "veth1", "veth"),
    Interface(5, "flannel.1", "vxlan", below=2), Interface(6, "tunl0", "ipip"), Interface(7, "wg0", "wireguard"),
    Interface(8, "cilium_host", "veth"),
])  # fmt: skip
NONE = LinkRates()
LINK = Link("eth0", NONE, others=(Link("eth1", NONE),), known=KNOWN, elsewhere=frozenset({"eth2"}))
NODE, POD, GATEWAY = "192.0.2.9", "10.244.1.7", "192.0.2.12"


class Kernel(Lookups):
    """Answers by destination, or by destination and source."""

    def __init__(self, answers: Mapping[Any, int | tuple[int, str]]) -> None:
        super().__init__()
        self.answers, self.questions = answers, 0

    def way(self, destination: bytes, source: bytes = b"", *_: int, **__: int) -> NextHop | None:
        self.questions += 1
        to, since = _text(destination), _text(source)
        found = self.answers.get((to, since), self.answers.get(to))
        if found is None:
            return None
        index, gateway = found if isinstance(found, tuple) else (found, "")
        return NextHop(index, packed(gateway))


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(address) == 16 else socket.AF_INET, address) if address else ""


def elephant(source: str, destination: str) -> Elephant:
    return Elephant(("u",), 6, source, destination, 0, 1e8, 0.0)


def paths(kernel: Kernel, link: Link = LINK) -> Paths:
    made = Paths(kernel)
    made.update(link, {packed(NODE)}, {packed(POD)})
    made.begin()
    return made


REMOTE = "198.51.100.7"


@pytest.mark.parametrize(
    ("answers", "uplink"),
    [
        ({POD: 4, REMOTE: 1}, "eth0"),
        ({POD: 4, REMOTE: 1, (REMOTE, POD): 2}, "eth1"),  # a rule by the pod's address
        ({POD: 4, REMOTE: 3}, None),  # an uplink that was not named
        ({POD: 4, REMOTE: (5, "10.244.2.0")}, "eth1"),  # VXLAN knows its device
        ({POD: 4, REMOTE: (6, GATEWAY), GATEWAY: 2}, "eth1"),  # IPIP: its gateway is the other node
        ({POD: 4, REMOTE: 7}, "eth0"),  # WireGuard: the default route's
        ({POD: 4, REMOTE: 4}, None),  # it stays on this machine
        ({POD: 4, REMOTE: (8, "10.244.1.1")}, "eth0"),  # a program takes it from there
        ({POD: 4, REMOTE: 99}, "eth0"),
        ({}, "eth0"),
    ],
)
def test_a_pods_flow_is_booked_where_the_kernel_sends_it(
    answers: dict[str | tuple[str, str], int | tuple[int, str]], uplink: str | None
) -> None:
    assert paths(Kernel(answers)).of(elephant(f"{POD}:4000", f"{REMOTE}:443")) == uplink
    assert paths(Kernel(answers)).of(elephant(f"{REMOTE}:4000", f"{POD}:80")) == uplink, "the pod answers"


def test_nobodys_flow_leaves_by_the_side_that_it_does_not_come_from() -> None:
    guest = "10.9.9.9"
    kernel = {guest: 4, REMOTE: 2}
    assert paths(Kernel(kernel)).of(elephant(guest, REMOTE)) == "eth1"
    assert paths(Kernel(kernel)).of(elephant(REMOTE, guest)) == "eth1"


def test_the_nodes_own_flow_and_ipv6() -> None:
    assert paths(Kernel({REMOTE: 2})).of(elephant(f"{NODE}:1", f"{REMOTE}:2")) == "eth1"
    assert paths(Kernel({"fd00::2": 2, "fd00::1": 4})).of(elephant("[fd00::1]:80", "[fd00::2]:4000")) == "eth1"


def test_answers_are_remembered_until_something_changes_and_bounded() -> None:
    kernel = Kernel({POD: 4, REMOTE: 1})
    made = paths(kernel)
    flow = elephant(f"{POD}:1", f"{REMOTE}:2")
    for _ in range(5):
        made.of(flow)
    asked = kernel.questions
    made.of(elephant(f"{POD}:77", f"{REMOTE}:2"))  # another port takes the same way
    assert kernel.questions == asked
    made.update(LINK, set(), set())
    made.of(flow)
    assert kernel.questions > asked

    for number in range(3 * MOST_KNOWN):
        if number % MOST_ASKED == 0:
            made.begin()
        made.of(elephant(f"{POD}:1", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:2"))
    assert len(made._known) == MOST_KNOWN


def test_more_elephants_than_are_asked_for_at_once_are_booked_by_default() -> None:
    kernel = Kernel({POD: 4, **{f"10.1.0.{n}": 2 for n in range(200)}})
    made = paths(kernel)
    flows = [elephant(f"{POD}:1", f"10.1.0.{n}:2") for n in range(200)]
    assert [made.of(flow) for flow in flows] == ["eth1"] * MOST_ASKED + ["eth0"] * (200 - MOST_ASKED)
    for _ in range(4):
        made.begin()
        found = [made.of(flow) for flow in flows]
    assert found == ["eth1"] * 200


@pytest.mark.parametrize("text", ["", "host", "1.2.3", "[::1", "::zz", "1.2.3.4.5:80"])
def test_what_is_no_address_is_booked_by_default(text: str) -> None:
    assert paths(Kernel({})).of(elephant(text, f"{REMOTE}:2")) == "eth0"


def test_an_error_of_the_kernel_is_no_way() -> None:
    assert parse_answer(b"\x24\0\0\0\2\0\0\0" + bytes(28)) is None
    assert parse_answer(b"\xff\0\0\0\x18\0\0\0" + bytes(28)) is None
