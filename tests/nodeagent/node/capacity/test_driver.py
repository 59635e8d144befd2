# SPDX-License-Identifier: Apache-2.0
"""Whose speed is believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nodeagent.node.capacity.driver import MADE_UP, believed_speed, directly_below, driver

Add = Callable[..., None]


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Adds an interface to a /sys/class/net below ``tmp_path``."""

    def make(name: str, speed: str, by: str | None = None, *, on: tuple[str, ...] = (), mode: str = "") -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "speed").write_text(f"{speed}\n")
        if by is not None:
            (folder / "device").mkdir()
            (folder / "device" / "driver").symlink_to(f"../../../bus/pci/drivers/{by}")
        for below in on:
            (folder / f"lower_{below}").symlink_to(f"../{below}")
        if mode:
            (folder / "bonding").mkdir()
            (folder / "bonding" / "mode").write_text(f"{mode} 1\n")

    return make


@pytest.mark.parametrize(
    ("by", "speed", "believed"),
    [
        ("mlx5_core", "25000", 25e9), ("e1000e", "1000", 1e9), ("ixgbe", "-1", 0.0), ("i40e", "4294967295", 0.0),
        (None, "10000", 0.0),  # veth, tun and tap: a constant
        ("virtio_net", "10000", 0.0), ("vmxnet3", "10000", 0.0), ("hv_netvsc", "50000", 0.0),
        ("ena", "10000", 0.0), ("gve", "32000", 0.0), ("ixgbevf", "10000", 0.0),
    ],
)  # fmt: skip
def test_a_speed_counts_where_hardware_states_it_and_not_where_it_is_made_up(
    tmp_path: Path, add: Add, by: str | None, speed: str, believed: float
) -> None:
    add("eth0", speed, by)
    assert believed_speed("eth0", tmp_path) == believed


def test_a_vlan_on_a_bond_carries_what_the_bonds_members_do_together(tmp_path: Path, add: Add) -> None:
    add("eth0", "10000", "ixgbe")
    add("eth1", "10000", "ixgbe")
    add("bond0", "20000", on=("eth0", "eth1"), mode="802.3ad")
    add("bond0.7", "20000", on=("bond0",))
    assert directly_below("bond0", tmp_path) == ("eth0", "eth1")
    assert believed_speed("bond0.7", tmp_path) == 20e9


def test_a_bond_that_uses_one_member_at_a_time_carries_what_one_does(tmp_path: Path, add: Add) -> None:
    add("eth0", "10000", "ixgbe")
    add("eth1", "1000", "igb")
    add("bond0", "10000", on=("eth0", "eth1"), mode="active-backup")
    assert believed_speed("bond0", tmp_path) == 10e9


def test_a_bridge_carries_what_its_hardware_does_and_not_what_pods_devices_say(tmp_path: Path, add: Add) -> None:
    add("eth0", "1000", "igb")
    add("veth1", "10000")
    add("br0", "10000", on=("eth0", "veth1"))
    assert believed_speed("br0", tmp_path) == 1e9


def test_devices_that_claim_to_be_upon_each_other_end(tmp_path: Path, add: Add) -> None:
    add("a", "1000", on=("b",))
    add("b", "1000", on=("a",))
    assert believed_speed("a", tmp_path) == 0.0


def test_an_interface_that_is_not_there_has_neither_driver_nor_speed(tmp_path: Path) -> None:
    assert (driver("eth9", tmp_path), believed_speed("eth9", tmp_path)) == ("", 0.0)


def test_this_machines_own_virtual_card_is_recognised() -> None:
    """It is known by the name that the kernel gives its driver, not only by the one we wrote down."""
    found = [driver(path.name) for path in Path("/sys/class/net").iterdir()]
    assert driver("lo") == ""
    assert all(isinstance(name, str) for name in found)
    assert "virtio_net" in MADE_UP
