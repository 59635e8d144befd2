# SPDX-License-Identifier: Apache-2.0
"""Programs that may send packets past conntrack: found where they are, named, and none invented."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent import preflight
from nodeagent.node import steering
from nodeagent.node.netlink import attribute
from nodeagent.node.steering import Steering, described, filter_program, read_steering, xdp
from nodeagent.node.uplinks.interfaces import IFINFOMSG
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType, ProgramType
from nodeagent.sources.findings import Presence
from tests.kernel.guest.datapath import redirected
from tests.kernel.guest.network import Network, network

_PASSES = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
_XDP_PASSES = bytes([0xB7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])


def filter_message(kind: str, options: bytes = b"") -> bytes:
    return bytes(20) + attribute(1, kind.encode() + b"\0") + (attribute(2, options) if options else b"")


@pytest.mark.parametrize(
    ("body", "program"),
    [
        (filter_message("bpf", attribute(7, b"cil_from_container\0") + attribute(11, struct.pack("=I", 7))),
         "cil_from_container"),
        (filter_message("bpf", attribute(11, struct.pack("=I", 4_000_000_000))), "program 4000000000"),
        (filter_message("bpf", attribute(8, struct.pack("=I", 1))), None),
        (filter_message("flower", attribute(1, b"1234")), None),
        (filter_message("bpf"), None),
        (b"", None),
        (bytes(20) + b"\xff\xff\xff", None),
    ],
)  # fmt: skip
def test_a_filter_is_known_by_its_program(body: bytes, program: str | None) -> None:
    assert filter_program(body) == program


def test_a_link_without_xdp_has_none() -> None:
    empty = IFINFOMSG.pack(0, 0, 1, 2, 0, 0)
    assert list(xdp("eth0", empty)) == []
    assert list(xdp("eth0", empty + attribute(43, attribute(2, b"\0")))) == []
    attached = attribute(43, attribute(2, b"\2") + attribute(4, struct.pack("=I", 4_000_000_000)))
    assert list(xdp("eth0", empty + attached)) == [Steering("eth0", "xdp", "program 4000000000")]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], ""),
        ([Steering("vetha", "tc ingress", "from_pod")], "from_pod at tc ingress of vetha"),
        ([Steering(f"lxc{n}", "tcx ingress", "cil_from_container") for n in range(30)],
         "Cilium: cil_from_container at tcx ingress of lxc0 and 29 more"),
        ([Steering("cali1", "tc ingress", "cali_from_wl"), Steering("eth0", "xdp", "program 3")],
         "Calico: cali_from_wl at tc ingress of cali1, program 3 at xdp of eth0"),
        ([Steering("nk1", "netkit"), Steering("nk1", "netkit peer", "p")],
         "the netkit device nk1, p at netkit peer of nk1"),
        ([Steering("v", "tc ingress", f"p{n}") for n in range(5)],
         "p0 at tc ingress of v, p1 at tc ingress of v, p2 at tc ingress of v, 2 other programs"),
    ],
)  # fmt: skip
def test_what_was_found_is_one_line(found: list[Steering], said: str) -> None:
    assert described(found) == said


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.mark.netns
def test_a_plain_node_has_nothing_that_steers(net: Network) -> None:
    with netns.entered(net.node):
        assert read_steering(["uplink"]) == ()
        finding = preflight.probe_steering("uplink")
    assert (finding.answer, finding.required) == (Presence.YES, False)


@pytest.mark.netns
def test_a_redirecting_datapath_is_named_before_any_coverage_falls(net: Network) -> None:
    with redirected(net), netns.entered(net.node):
        found = read_steering(["uplink"])
        finding = preflight.probe_steering("uplink")
    assert {(one.interface, one.hook, one.program) for one in found} == {
        *((f"pod{number}", "tc ingress", "from_pod") for number in (1, 2, 3)),
        ("uplink", "tc ingress", "from_uplink"),
    }
    assert finding.answer is Presence.UNKNOWN
    assert "from_pod at tc ingress of pod1 and 2 more" in finding.detail
    assert "ebpf-cgroup" in finding.remedy


@pytest.mark.netns
def test_programs_of_the_newer_hooks_are_found(net: Network) -> None:
    with netns.entered(net.node), _tcx("pod1"), _xdp("pod2"):
        found = {(one.interface, one.hook, one.program) for one in read_steering()}
    assert found == {("pod1", "tcx ingress", "steers"), ("pod2", "xdp", "steers")}


@pytest.mark.netns
def test_a_search_is_bounded(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "MOST_INTERFACES", 0)
    with redirected(net), netns.entered(net.node):
        assert read_steering(["uplink"]) == ()


@contextmanager
def _tcx(device: str) -> Iterator[None]:
    program = bpf.program_load(ProgramType.SCHED_CLS, _PASSES, name="steers")
    try:
        link = bpf.attach_cgroup(program, socket.if_nametoindex(device), AttachType.TCX_INGRESS)
    except OSError as error:
        pytest.skip(f"this kernel has no tcx: {error}")
    finally:
        os.close(program)
    try:
        yield
    finally:
        os.close(link)


@contextmanager
def _xdp(device: str) -> Iterator[None]:
    program = bpf.program_load(ProgramType.XDP, _XDP_PASSES, name="steers")
    pins = Path(f"/run/steering-test-{os.getpid()}")
    pins.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", pins], check=True)
    try:
        bpf.pin(program, pins / "p")
        subprocess.run(["ip", "link", "set", "dev", device, "xdpgeneric", "pinned", pins / "p"], check=True)
        yield
    finally:
        os.close(program)
        subprocess.run(["ip", "link", "set", "dev", device, "xdpgeneric", "off"], check=False)
        subprocess.run(["umount", pins], check=True)
        pins.rmdir()
