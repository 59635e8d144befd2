# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from footprint.models import LinkRates
from nodeagent.node.link import LinkCounters, LinkError, default_interface, find_link, parse_counters

HEADER = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
NO_ROUTE6 = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200 lo\n"
DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
    "  eth0: 10014 1 0 0 0 0 0 0 2028 2 0 0 0 0 0 0\n"
    "eth0.5:7 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n"
)


def route(interface: str, metric: int, destination: str = "00000000", flags: str = "0003") -> str:
    return f"{interface} {destination} 0102A8C0 {flags} 0 0 {metric} {destination} 0 0 0\n"


def route6(interface: str, metric: int) -> str:
    return f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 28} {metric:08x} 1 0 00450003 {interface}\n"


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected"),
    [
        (HEADER + route("eth0", 100), "", "eth0"),
        (HEADER + route("wlan0", 600) + route("eth0", 100), "", "eth0"),
        (HEADER + route("eth1", 0, destination="0000A8C0"), "", None),  # not a default route
        (HEADER + route("eth0", 0, flags="0002"), "", None),  # down
        (HEADER + route("eth0", 0, flags="0203"), "", None),  # unreachable
        (HEADER, NO_ROUTE6 + route6("eth6", 1024), "eth6"),
        (HEADER + route("eth0", 900), route6("eth6", 1), "eth0"),
        (HEADER, NO_ROUTE6, None),
        ("", "", None),
    ],
)
def test_the_uplink_is_the_default_routes_interface(ipv4: str, ipv6: str, expected: str | None) -> None:
    assert default_interface(ipv4, ipv6) == expected


@pytest.mark.parametrize(
    ("interface", "expected"),
    [("eth0", LinkCounters(2000, 10000)), ("eth0.5", LinkCounters(9, 7)), ("eth", None)],
)
def test_counters_are_read_without_ethernet_headers(interface: str, expected: LinkCounters | None) -> None:
    assert parse_counters(DEV, interface) == expected


def machine(root: Path, speed: str | None) -> tuple[Path, Path]:
    proc, sys = root / "proc", root / "sys"
    proc.mkdir()
    (proc / "route").write_text(HEADER + route("eth0", 100))
    (proc / "dev").write_text(DEV)
    (sys / "eth0" / "device").mkdir(parents=True)
    (sys / "eth0" / "device" / "driver").symlink_to("../../../bus/pci/drivers/ixgbe")
    if speed is not None:
        (sys / "eth0" / "speed").write_text(speed)
    return proc, sys


@pytest.mark.parametrize(
    ("speed", "override", "expected"),
    [
        ("10000\n", None, 1e10), ("800000\n", None, 8e11), ("-1\n", None, 0.0), (None, None, 0.0),
        ("?", None, 0.0),
        ("65535\n", None, 0.0), ("4294967295\n", None, 0.0), ("9" * 30, None, 0.0), ("0\n", None, 0.0),
        ("4294967294\n", None, 0.0), ("10000", 2e8, 2e8),
    ],
)  # fmt: skip
def test_capacity_is_the_override_else_the_speed_else_not_known(
    tmp_path: Path, speed: str | None, override: float | None, expected: float
) -> None:
    proc, sys = machine(tmp_path, speed)
    link = find_link(None, override, proc_net=proc, sys_net=sys)
    assert (link.interface, link.capacity) == ("eth0", LinkRates(expected, expected))


def test_a_named_uplink_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    proc, sys = machine(tmp_path, "1000")
    with pytest.raises(LinkError, match="eth7"):
        find_link("eth7", None, proc_net=proc, sys_net=sys)
