# SPDX-License-Identifier: Apache-2.0
"""Beside whoever else is at a cgroup: nobody is replaced, no verdict changes, detaching leaves all as it was."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.sources.base import SourceUnavailable
from nodeagent.sources.cgroup import CgroupSource, loader, root
from nodeagent.sources.cgroup.source import at_sockets
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType, ProgramType
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.problems import Cause, EbpfUnavailable
from tests.kernel.guest.measuring import LENIENT
from tests.kernel.guest.network import LOCALITY, PORT, SERVER4, Network
from tests.kernel.guest.traffic import Connection, socket_in
from tests.nodeagent.sources.cgroup.test_packets import SIZES, until

pytestmark = pytest.mark.netns
HOOKS = (AttachType.CGROUP_INGRESS, AttachType.CGROUP_EGRESS)


def opened(cgroup: Path, pins: Path | None = None, *, keep: bool = False) -> CgroupSource:
    source = CgroupSource(LENIENT, LOCALITY, options=Options(sizes=SIZES, pins=pins), cgroup=cgroup, keep=keep)
    source.open()
    return source


def attached(cgroup: Path) -> dict[AttachType, bpf.Attached]:
    with root.opened(cgroup) as descriptor:
        return {hook: bpf.query_cgroup(descriptor, hook) for hook in HOOKS}


def verdict(answer: int, hook: AttachType) -> int:
    """A program that says 1 (pass) or 0 (drop) to every packet."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, answer) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    return bpf.program_load(ProgramType.CGROUP_SKB, code, name="foreign", attach_type=hook)


@contextmanager
def foreign(cgroup: Path, answer: int, hook: AttachType = AttachType.CGROUP_EGRESS) -> Iterator[None]:
    program = verdict(answer, hook)
    with root.opened(cgroup) as descriptor:
        link = bpf.attach_cgroup(program, descriptor, hook)
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


def send(net: Network) -> bool:
    """Whether the kernel took a datagram of the pod's."""
    with socket_in(net.pod1, SERVER4, socket.SOCK_DGRAM) as caller:
        try:
            caller.sendto(b"x", (SERVER4, 10_000))
        except PermissionError:
            return False
    return True


def test_foreign_programs_keep_their_order_and_their_verdicts(net: Network, cgroup: Path) -> None:
    with foreign(cgroup, 1), foreign(cgroup, 1, AttachType.CGROUP_INGRESS):
        before = attached(cgroup)
        source = opened(cgroup)
        with foreign(cgroup, 0):
            during = attached(cgroup)
            assert not send(net), "a foreign program drops what it dropped"
        assert send(net)
        for hook in HOOKS:
            first = before[hook].programs
            assert during[hook].programs[: len(first)] == first
        source.close()
        assert until(lambda: attached(cgroup) == before)


def test_closing_leaves_nothing_at_the_cgroup(cgroup: Path) -> None:
    before = attached(cgroup)
    source = opened(cgroup)
    assert [len(found.programs) for found in attached(cgroup).values()] == [1, 1]
    source.close()
    assert until(lambda: attached(cgroup) == before)


def test_a_cgroup_that_somebody_has_for_himself_is_refused_by_name(cgroup: Path) -> None:
    program = verdict(1, AttachType.CGROUP_EGRESS)
    prog_attach, prog_detach = 8, 9
    with root.opened(cgroup) as descriptor:
        exclusive = struct.pack("=IIII8x", descriptor, program, AttachType.CGROUP_EGRESS, 0)
        bpf._bpf(prog_attach, exclusive)  # type: ignore[arg-type]
        try:
            before = attached(cgroup)
            with pytest.raises(EbpfUnavailable, match=r"belongs to the egress program \d+ alone") as refusal:
                opened(cgroup)
            assert refusal.value.problem.kind is Cause.CGROUP_TAKEN
            assert attached(cgroup) == before
        finally:
            bpf._bpf(prog_detach, exclusive)  # type: ignore[arg-type]
            os.close(program)


def test_a_folder_that_is_no_cgroup_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"is not in a cgroup2 tree.*--cgroup-root"):
        opened(tmp_path)


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "bpf"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", mounted], check=True)
    try:
        yield mounted / "traffic-footprint"
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_a_successor_takes_over_every_flow_and_counter(net: Network, cgroup: Path, pins: Path) -> None:
    truth = net.counted()
    first = opened(cgroup, pins, keep=True)
    assert first.pinned
    with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        connection.send(100_000)
        first.close()
        connection.send(50_000)  # while nobody is there
        second = opened(cgroup, pins)
        try:
            assert second.adopted
            connection.close()
            net.quiet()
            now, found = net.counted(), second.read(time.monotonic()).owners["uid-1"]
        finally:
            second.close()
    assert (found.tx_bytes, found.rx_bytes) == tuple(now[k] - truth[k] for k in ("in_pod1", "out_pod1"))
    assert (found.flows_born, found.flows_ended) == (1, 1)
    assert not any(pins.rglob("*"))
    assert until(lambda: not any(found.programs for found in attached(cgroup).values()))


def test_a_program_of_another_build_is_unloaded(cgroup: Path, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(cgroup, pins, keep=True).close()
    monkeypatch.setattr(loader, "fingerprint", lambda *_: 12345)
    second = opened(cgroup, pins)
    assert not second.adopted
    assert until(lambda: [len(found.programs) for found in attached(cgroup).values()] == [1, 1])
    second.close()


def test_what_a_predecessor_left_is_disowned(cgroup: Path, pins: Path) -> None:
    opened(cgroup, pins, keep=True).close()
    assert loader.running(at_sockets(Options(sizes=SIZES, pins=pins)), cgroup)
    loader.disown(Options(pins=pins))
    assert until(lambda: not any(found.programs for found in attached(cgroup).values()))


def test_namespaces_are_of_no_account(net: Network, cgroup: Path) -> None:
    """The source may be opened in any network namespace: the cgroup decides what is counted."""
    with netns.entered(net.pod3):
        source = opened(cgroup)
    try:
        assert send(net)
        assert source.read(time.monotonic()).owners["uid-1"].tx_packets == 1
    finally:
        source.close()
