# SPDX-License-Identifier: Apache-2.0
"""Behind which interfaces only this machine's own guests live, and what a look at them tells."""

from __future__ import annotations

import pytest

from nodeagent.node.link import LinkError
from nodeagent.node.pods import LocalPod
from nodeagent.node.uplinks.interfaces import Interface
from nodeagent.top import neighbours
from nodeagent.top.neighbours import EVERY, Neighbours, inward
from nodeagent.top.pods_file import PodsFileError
from nodeagent.top.tap_holders import TapHolders

UPLINK = Interface(1, "eth0")


@pytest.mark.parametrize(
    ("interfaces", "leads_in"),
    [
        ([Interface(2, "cali1", "veth")], {2}),
        ([Interface(2, "vnet0", "tun")], {2}),
        ([Interface(2, "tun0", "tun", ethernet=False)], set()),  # a VPN
        ([Interface(2, "eth1")], set()),  # hardware: another network
        ([Interface(2, "flannel.1", "vxlan"), Interface(3, "wg0", "wireguard")], set()),
        ([Interface(2, "docker0", "bridge"), Interface(3, "veth1", "veth", master=2)], {2}),
        ([Interface(2, "virbr0", "bridge"), Interface(3, "vnet0", "tun", master=2)], {2}),
        ([Interface(2, "br0", "bridge")], set()),  # nobody is there
        ([Interface(2, "b", "bridge"), Interface(3, "v", "tun", master=2), Interface(4, "eth1", master=2)], set()),
        ([Interface(2, "br0", "bridge"), Interface(3, "vx", "vxlan", master=2)], set()),
        ([Interface(2, "br0", "bridge"), Interface(1, "eth0", "veth", master=2)], set()),  # the uplink's bridge
    ],
)  # fmt: skip
def test_where_only_guests_live(interfaces: list[Interface], leads_in: set[int]) -> None:
    assert inward([UPLINK, *interfaces], {"eth0"}) == leads_in


def test_the_uplink_leads_out_whatever_it_is() -> None:
    assert inward([Interface(1, "eth0", "veth"), Interface(2, "veth1", "veth")], {"eth0"}) == {2}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_look_is_taken_now_and_then_and_tells_of_changes() -> None:
    here, clock = [LocalPod("10.0.0.1", "", "10.0.0.1", "")], Clock()
    named = Neighbours(lambda: {"eth0"}, find=lambda _: tuple(here), clock=clock)
    assert named.changed()
    assert [resident.pod.name for resident in named.residents] == ["10.0.0.1"]
    here.clear()
    assert not named.changed()
    clock.now = EVERY
    assert named.changed()
    assert named.residents == ()


def test_without_an_uplink_nobody_is_named_and_the_flag_is() -> None:
    with pytest.raises(PodsFileError, match="--uplink"):
        Neighbours(lambda: (), find=lambda _: pytest.fail("nobody must be named")).changed()


def test_what_cannot_be_read_leaves_those_known_before() -> None:
    clock, answers = Clock(), ["eth0"]

    def uplinks() -> set[str]:
        if not answers:
            raise LinkError("no such interface")
        return {answers.pop()}

    named = Neighbours(uplinks, find=lambda _: (LocalPod("a", "", "a", ""),), clock=clock)
    assert named.changed()
    clock.now = EVERY
    with pytest.raises(PodsFileError, match="no such interface"):
        named.changed()
    assert len(named.residents) == 1


def test_only_addresses_of_hosts_are_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_interfaces", lambda: [UPLINK, Interface(2, "veth1", "veth")])
    link_local, v6 = b"\xfe\x80" + bytes(13) + b"\1", b"\xfd" + bytes(14) + b"\2"
    found = [(2, bytes((10, 0, 0, 1)), b""), (2, link_local, b""), (2, v6, b""), (1, bytes((10, 9, 9, 9)), b"")]
    monkeypatch.setattr(neighbours, "_neighbours", lambda: found)
    monkeypatch.setattr(
        neighbours, "_host_routes", lambda: [(2, bytes((10, 0, 0, 7))), (2, bytes((224, 0, 0, 1)))]
    )
    assert [pod.name for pod in neighbours.guests({"eth0"}, TapHolders())] == ["10.0.0.1", "10.0.0.7", "fd00::2"]
