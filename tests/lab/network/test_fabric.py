# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lab.network import commands, fabric, netns, sysctls
from lab.network.fabric import Fabric, Host, NodeSpec, bridge_script, host_script
from lab.network.pods import node_script, plan, pod_script
from lab.network.shaping import FIFO_BYTES, shape


@pytest.mark.parametrize("lab_id", ["", "A", "a-b", "x" * 17, "a b", "../x"])
def test_a_lab_id_that_cannot_name_a_namespace_is_refused(lab_id: str) -> None:
    with pytest.raises(ValueError, match="lab id"):
        Fabric(lab_id, [])


@pytest.mark.parametrize("name", ["cp", "outside", "fabric", "p-1", "", "Node", "-a", "a b"])
def test_a_node_name_that_is_taken_or_impossible_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="node name"):
        Fabric("x", [NodeSpec(name, 1, "200M")])


def test_a_capacity_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="bandwidth"):
        Fabric("x", [NodeSpec("node1", 1, "fast")])


def test_two_nodes_with_one_index_or_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="share a index"):
        Fabric("x", [NodeSpec("a", 1, "1M"), NodeSpec("b", 1, "1M")])
    with pytest.raises(ValueError, match="share a name"):
        Fabric("x", [NodeSpec("a", 1, "1M"), NodeSpec("a", 2, "1M")])


def hosts() -> list[Host]:
    return [
        Host("tf-x-cp", "cp", "10.10.0.1", "fd00:10::1"),
        Host("tf-x-a", "node1", "10.10.0.11", "fd00:10::11", 1, 2e8),
        Host("tf-x-b", "node2", "10.10.0.12", "fd00:10::12", 2, 2e8),
    ]


def test_a_node_routes_to_the_other_nodes_pods_and_not_to_itself() -> None:
    script = host_script(hosts()[1], hosts())
    assert "route add 10.244.2.0/24 via 10.10.0.12 dev eth0" in script
    assert "route add fd00:244:2::/64 via fd00:10::12 dev eth0" in script
    assert "via 10.10.0.11" not in script
    assert "route add default" in script


def test_the_control_plane_has_no_default_route() -> None:
    assert "default" not in host_script(hosts()[0], hosts())


def test_every_host_gets_a_port_on_the_bridge() -> None:
    script = bridge_script(hosts())
    for host in hosts():
        assert f"link add {host.port} type veth peer name eth0" in script
        assert f"netns {host.namespace}" in script


def test_the_shape_is_one_rate_and_one_fifo() -> None:
    script = shape("eth0", 200e6)
    assert "rate 200000000bit ceil 200000000bit" in script
    assert f"bfifo limit {FIFO_BYTES}b" in script


def test_a_pods_names_fit_an_interface() -> None:
    link = plan("x", "tf-x-a", "5f7a2001-6de0-496a-b1bf-578be40a85b6", "10.244.1.10", "fd00:244:1::a")
    assert link.namespace == "tf-x-p-5f7a20016d"
    assert len(link.interface) <= 15
    assert f"route add 10.244.1.10/32 dev {link.interface}" in node_script(link)
    assert "addr add fd00:244:1::a/128 dev eth0 nodad" in pod_script(link)


class Modular:
    """A kernel whose bridge and connection tracking are modules: what ``commands`` would do there."""

    def __init__(self) -> None:
        self.tracking: set[str] = set()
        self.written: list[tuple[str, str]] = []

    def ip_batch(self, *_: object) -> None: ...
    def tc_batch(self, *_: object) -> None: ...

    def nft(self, namespace: str, script: str) -> None:
        if "ct state" in script:
            self.tracking.add(namespace)

    def sysctl(self, namespace: str, settings: dict[str, Any], *, optional: bool = False) -> None:
        for path in settings:
            absent = path.startswith("bridge/") or (path.startswith("netfilter/") and not self.tracking)
            if absent and not optional:
                raise commands.CommandError(f"net/{path} in {namespace}: No such file or directory")
            if not absent:
                self.written.append((namespace, path))


def test_a_fabric_is_made_on_a_kernel_whose_bridge_and_connection_tracking_are_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Modular()
    monkeypatch.setattr(fabric, "commands", kernel)
    monkeypatch.setattr(netns, "create_all", lambda _names: None)
    made = Fabric("x", [NodeSpec("node1", 1, "10M"), NodeSpec("node2", 2, "10M")])
    made.create()
    nodes = {made.node_namespace("node1"), made.node_namespace("node2")}
    assert kernel.tracking == nodes
    assert {namespace for namespace, path in kernel.written if path == "netfilter/nf_conntrack_acct"} == nodes


def test_only_settings_that_may_be_absent_are_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(commands, "SYSCTLS", tmp_path)
    monkeypatch.setattr(netns, "entered", nullcontext)
    commands.sysctl("x", sysctls.BRIDGE, optional=True)
    with pytest.raises(commands.CommandError, match="bridge-nf-call-iptables=0 in x: No such file"):
        commands.sysctl("x", sysctls.BRIDGE)
    for path in sysctls.BRIDGE:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("1")
    commands.sysctl("x", sysctls.BRIDGE, optional=True)
    assert [(tmp_path / path).read_text() for path in sysctls.BRIDGE] == ["0", "0"]


@pytest.mark.netns
def test_nothing_of_a_fabric_is_left_and_destroying_twice_is_no_error() -> None:
    fabric = Fabric(f"tleave{os.getpid()}", [NodeSpec("node1", 1, "10M")])
    fabric.create()
    assert set(netns.list_names(fabric.prefix)) == {
        fabric.cp_namespace, fabric.outside_namespace, fabric.fabric_namespace, fabric.node_namespace("node1"),
    }  # fmt: skip
    fabric.destroy()
    fabric.destroy()
    assert netns.list_names(fabric.prefix) == []


@pytest.mark.netns
def test_a_fabric_that_cannot_be_made_leaves_nothing_and_says_why() -> None:
    first = Fabric(f"tagain{os.getpid()}", [NodeSpec("node1", 1, "10M")])
    first.create()
    try:
        with pytest.raises(netns.NamespaceError, match="delete leftovers"):
            Fabric(f"tagain{os.getpid()}", [NodeSpec("node1", 1, "10M")]).create()
    finally:
        first.destroy()
    assert netns.list_names(first.prefix) == []
