# SPDX-License-Identifier: Apache-2.0
"""What libvirt and QEMU say of machines, and what somebody hostile would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.network import netns
from nodeagent.top.machines import LONGEST, Machine, called, domain, shown, tap_of
from nodeagent.top.neighbours import owners
from nodeagent.top.tap_holders import AGAIN, TapHolders, by_libvirt, by_process

STATUS = b"""<!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->
<domstatus state='running' reason='booted' pid='1234'>
  <monitor path='/var/lib/libvirt/qemu/domain-1-web/monitor.sock' type='unix'/>
  <domain type='kvm' id='1'>
    <name>web</name>
    <devices>
      <disk type='file'><target dev='vda' bus='virtio'/></disk>
      <interface type='network'>
        <mac address='52:54:00:aa:bb:cc'/><source network='default' bridge='virbr0'/><target dev='vnet0'/>
      </interface>
      <interface type='bridge'><target dev='vnet1'/></interface>
      <interface type='hostdev'/>
    </devices>
  </domain>
</domstatus>
"""


@pytest.mark.parametrize(
    ("status", "machine"),
    [
        (STATUS, Machine("web", frozenset({"vnet0", "vnet1"}))),
        (b"<domain><name>a</name></domain>", Machine("a")),
        (b"<domain><name> </name></domain>", None),
        (b"<network><name>default</name></network>", None),
        (b"<domstatus>", None),
        (b"", None),
        (b"\0\xff", None),
        (b'<?xml version="1.0" encoding="nonsense"?><domain><name>a</name></domain>', None),
        (b'<!DOCTYPE d [<!ENTITY a "b">]><domain><name>&a;</name></domain>', None),
        (b"<domain><name>\xc2\x9b2J</name></domain>", Machine("?2J")),
        (
            b"<domain><name>a</name><devices><interface><target dev='../x'/></interface></devices></domain>",
            Machine("a"),
        ),
    ],
)  # fmt: skip
def test_a_machine_by_libvirts_status(status: bytes, machine: Machine | None) -> None:
    assert domain(status) == machine


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["qemu", "-name", "guest=web,debug-threads=on", "-m", "1"], "web"),
        (["qemu", "-name", "web,process=x"], "web"),
        (["qemu", "--name", "a,,b"], "a,b"),
        (["qemu", "-name", "debug-threads=on,guest=late"], "late"),
        (["qemu", "-name", "debug-threads=on", "-uuid", "u-1"], "u-1"),
        (["qemu", "-name"], "prog"),
        (["qemu", "-name", ""], "prog"),
        ([], "prog"),
        (["qemu", "-name", "\x1b[2J\n"], "?[2J"),
        (["qemu", "-name", "x" * 1000], "x" * (LONGEST - 1) + "…"),
    ],
)
def test_a_machine_by_its_programs_arguments(arguments: list[str], name: str) -> None:
    assert called(arguments, "prog") == name


@pytest.mark.parametrize(
    ("text", "tap"),
    [
        ("pos:\t0\nflags:\t0104002\nmnt_id:\t28\nino:\t1\niff:\tvnet0\n", "vnet0"),
        ("iff:\t\n", ""),
        ("iff:\ta-name-too-long-for-one\n", ""),
        ("pos:\t0\n", ""),
    ],
)
def test_a_descriptor_tells_its_tap(text: str, tap: str) -> None:
    assert tap_of(text) == tap


@given(
    st.lists(st.one_of(st.text(), st.sampled_from(["-name", "-uuid", "guest=\x07", ",,,"]))), st.text(min_size=1)
)
def test_whatever_a_program_is_started_with_its_name_can_be_shown(arguments: list[str], program: str) -> None:
    name = called(arguments, program)
    assert len(name) <= LONGEST
    assert name.isprintable()


@given(st.binary(max_size=300))
def test_whatever_a_status_holds_is_a_machine_or_none(status: bytes) -> None:
    found = domain(STATUS.replace(b"web", status))
    assert found is None or (found.name == shown(found.name) and len(found.name) <= LONGEST)


def test_status_files_that_are_none_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "web.xml").write_bytes(STATUS)
    (tmp_path / "large.xml").write_bytes(b" " * 2**20 + STATUS)
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "web.pid").write_text("1234")
    assert [machine.name for machine in by_libvirt(tmp_path)] == ["web"]
    assert by_libvirt(tmp_path / "nosuch") == []


class Host:
    """Two machines called alike, of which libvirt knows none."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0
        self.machines = [Machine("web", frozenset({"t1"})), Machine("web", frozenset({"t2"}))]

    def process(self, _taps: Collection[str]) -> list[Machine]:
        self.looks += 1
        return self.machines


def test_processes_are_looked_through_for_new_taps_alone_and_rarely() -> None:
    host = Host()
    holders = TapHolders(lambda: [Machine("db", frozenset({"t0"}))], host.process, clock=lambda: host.now)
    assert holders.of({"t0": 1}) == {"t0": "db"}
    assert host.looks == 0, "libvirt said it"
    both = {"t0": 1, "t1": 2, "t2": 3}
    assert holders.of(both) == {"t0": "db", "t1": "web@t1", "t2": "web@t2"}
    assert (holders.of(both), host.looks) == (holders.of(both), 1)
    more = {**both, "t9": 9}
    assert "t9" not in holders.of(more)
    assert "t9" not in holders.of(more)
    assert host.looks == 2, "nobody was found for it a moment ago"
    host.now = AGAIN
    holders.of(more)
    assert host.looks == 3
    assert holders.of({"t1": 7}) == {"t1": "web@t1"}, "another device of the same name is asked for anew"
    assert host.looks == 4


def test_machines_that_are_called_alike_are_told_apart_whenever_they_start() -> None:
    running = [Machine("web", frozenset({"t1"}))]

    def process(taps: Collection[str]) -> list[Machine]:
        return [machine for machine in running if machine.taps & set(taps)]

    holders = TapHolders(lambda: [Machine("db", frozenset({"t0"}))], process)
    assert holders.of({"t0": 1, "t1": 2}) == {"t0": "db", "t1": "web"}
    running += [Machine("web", frozenset({"t2"})), Machine("db", frozenset({"t3"}))]
    assert holders.of({"t0": 1, "t1": 2, "t2": 3, "t3": 4}) == {
        "t0": "db", "t1": "web", "t2": "web@t2", "t3": "db@t3",
    }  # fmt: skip


def test_a_tap_that_a_machine_gets_later_is_the_machines() -> None:
    machines = [Machine("db", frozenset({"t0"}))]
    running = [Machine("web", frozenset({"t1"}))]
    holders = TapHolders(lambda: machines, lambda _: running)
    assert holders.of({"t0": 1, "t1": 2}) == {"t0": "db", "t1": "web"}
    machines[0] = Machine("db", frozenset({"t0", "t3"}))
    running[0] = Machine("web", frozenset({"t1", "t2"}))
    assert holders.of({"t0": 1, "t1": 2, "t2": 3, "t3": 4}) == {"t0": "db", "t1": "web", "t2": "web", "t3": "db"}


def test_a_machine_has_all_its_addresses_and_takes_nobodys_place() -> None:
    a, b, c = (bytes((10, 0, 0, last)) for last in (1, 2, 3))
    first, second, *rest = owners([c, b, a], {a: "10.0.0.3", b: "10.0.0.3"})
    assert (first.name, first.uid, first.addresses) == ("10.0.0.3", "10.0.0.3", (c,))
    assert (second.display_name, second.uid, second.addresses) == ("vm/10.0.0.3", "vm/10.0.0.3", (a, b))
    assert rest == []


_HOLDER = """
import fcntl, os, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"vnet7", 0x1002))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    names = [f"tfm-{os.getpid()}-{side}" for side in "ab"]
    try:
        netns.create_all(names)
        yield names
    finally:
        netns.delete_all(names)


@pytest.mark.netns
def test_who_holds_a_tap_is_found_in_the_same_network_namespace_alone(namespaces: list[str]) -> None:
    here, elsewhere = namespaces
    command = netns.command(here, [sys.executable, "-c", _HOLDER, "-name", "guest=web,debug-threads=on"])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with netns.entered(here):
                assert by_process({"vnet7", "vnet8"}) == [Machine("web", frozenset({"vnet7"}))]
                assert by_process({"vnet8"}) == []
            with netns.entered(elsewhere):
                assert by_process({"vnet7"}) == []
        finally:
            holder.communicate()
