# SPDX-License-Identifier: Apache-2.0
"""The speed that an interface's driver reports, where it means what the link carries.

Enters: ``/sys/class/net``. Leaves: bit/s, 0 for not known. Guarantees: constants of virtual devices are never
taken for a capacity; a bond counts what its members carry, and a VLAN what its parent does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from footprint.units import MAX_RATE

SYS_NET: Final = Path("/sys/class/net")

MADE_UP: Final = frozenset({
    "virtio_net",  # none, or what the hypervisor's operator typed
    "vmxnet3",  # always 10 Gbit/s
    "vif", "xen_netfront",  # none
    "hv_netvsc", "mana",  # the host's adapter, which many machines share
    "ena", "efa",  # none, or the adapter's; the instance's allowance is lower
    "gve",  # the machine type's largest, which one address or one flow does not get
    "ixgbevf", "igbvf", "iavf", "i40evf",  # the whole port, of which this is one function among many
    "nfp_netvf", "hinic_vf", "octeontx2_vf",
    "netdevsim",
})  # fmt: skip
"""Drivers whose speed says nothing of what this machine may carry: the provider's limit lies elsewhere."""

_UNKNOWN: Final = (2**16 - 1, 2**32 - 1)
"""SPEED_UNKNOWN of linux/ethtool.h, which is -1, as drivers hand it on in 16 and in 32 unsigned bits."""
_DEEPEST: Final = 4
"""Devices upon devices: VLAN, bridge, bond, member."""
_MOST: Final = 64
"""Devices below one."""
_LOWER: Final = "lower_"
_ONE_AT_A_TIME: Final = ("active-backup", "broadcast")
"""Modes of a bond whose members do not add up."""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # a device that has none, or is down (EINVAL)
        return ""


def interface_speed(interface: str, sys_net: Path = SYS_NET) -> float:
    """bit/s as the driver says, 0 when it does not know: unreadable, a sentinel, or beyond any NIC."""
    text = _text(sys_net / interface / "speed")
    megabits = int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) <= 20 else 0
    speed = megabits * 1e6
    return speed if 0 < speed <= MAX_RATE and megabits not in _UNKNOWN else 0.0


def driver(interface: str, sys_net: Path = SYS_NET) -> str:
    """The driver's name; empty for a virtual device, which has no hardware behind it."""
    try:
        return (sys_net / interface / "device" / "driver").readlink().name
    except OSError:
        return ""


def directly_below(interface: str, sys_net: Path = SYS_NET) -> tuple[str, ...]:
    """The devices directly below a bond, bridge, VLAN or the like; none for a device of its own."""
    try:
        names = sorted(entry.name for entry in (sys_net / interface).iterdir() if entry.name.startswith(_LOWER))
    except OSError:
        return ()
    return tuple(name.removeprefix(_LOWER) for name in names[:_MOST])


Below = Callable[[str, Path], tuple[str, ...]]


def believed_speed(
    interface: str, sys_net: Path = SYS_NET, below: Below = directly_below, *, depth: int = _DEEPEST
) -> float:
    """bit/s that ``interface`` carries in each direction, as drivers say; 0 where none is to be believed."""
    lower = below(interface, sys_net) if depth else ()
    if lower:
        speeds = [believed_speed(name, sys_net, below, depth=depth - 1) for name in lower]
        mode = _text(sys_net / interface / "bonding" / "mode").split(" ", 1)[0]
        return min(max(speeds) if mode in _ONE_AT_A_TIME else sum(speeds), MAX_RATE)
    name = driver(interface, sys_net)
    return interface_speed(interface, sys_net) if name and name not in MADE_UP else 0.0
