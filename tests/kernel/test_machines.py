# SPDX-License-Identifier: Apache-2.0
"""A real guest with a kernel of its own sends an elephant, behind a pod that is bound as KubeVirt binds it.

The node is a network namespace of this machine, which ctnetlink watches. KubeVirt has no part in it: the pod's
namespace is set up as its source says.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from lab.network import netns
from nodeagent.sources.base import FlowThresholds
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.top.machines import Machine
from nodeagent.top.tap_holders import by_process
from tests.kernel import tiny
from tests.kernel.guest import launcher
from tests.kernel.guest.launcher import Guest
from tests.kernel.guest.measuring import since
from tests.kernel.guest.network import LOCALITY, POD1_4, POD1_6, PORT, SERVER4, Network, network

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

SENT: Final = 24 * 2**20
WITHIN: Final = 0.02
PATIENCE: Final = 600.0
_THRESHOLDS: Final = FlowThresholds(elephant_bytes=2 * 2**20, elephant_rate=1e6, exit_hold=PATIENCE)
TAP: Final = ("-netdev", f"tap,id=net,ifname={launcher.TAP},script=no,downscript=no")


class Sink:
    """Takes one connection's bytes, and says how many came."""

    def __init__(self, namespace: str, address: str) -> None:
        with netns.entered(namespace):
            self._listener = socket.create_server((address, PORT))
        self._listener.settimeout(PATIENCE)
        self.received = 0
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            while arrived := len(connection.recv(2**20)):
                self.received += arrived

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10)


@contextmanager
def machine(namespace: str, folder: Path, guest: Guest) -> Iterator[subprocess.Popen[str]]:
    """A guest that sends, whose tap is in ``namespace``; ended afterwards."""
    boot = tiny.boot_file(folder, guest, server=SERVER4, port=PORT, size=SENT)
    command = netns.command(namespace, tiny.command(boot, guest, TAP, name="web"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def wait_for(look: Callable[[], list[Machine]]) -> list[Machine]:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.mark.parametrize("binding", launcher.BINDINGS)
def test_what_a_real_guest_sends_is_its_pods(net: Network, tmp_path: Path, binding: str) -> None:
    guest = launcher.bind(net.pod1, binding, POD1_4, POD1_6)
    source = CtnetlinkSource(_THRESHOLDS, LOCALITY)
    with netns.entered(net.node):
        source.open()
    try:
        before, truth, owners = source.read(time.monotonic()), net.counted(), set[tuple[str, ...]]()
        with Sink(net.server, SERVER4) as sink, machine(net.pod1, tmp_path, guest) as running:
            with netns.entered(net.pod1):
                called = wait_for(lambda: by_process({launcher.TAP}))
            assert called == [Machine("web", frozenset({launcher.TAP}))]
            while running.poll() is None:
                owners |= {elephant.owners for elephant in source.read(time.monotonic()).elephants}
                time.sleep(0.1)
            assert running.stdout is not None
            said = running.stdout.read()
            assert "the guest has sent: 0" in said, said
        net.quiet()
        found, carried = since(before, source.read(time.monotonic())), net.counted()
    finally:
        source.close()
    assert sink.received == SENT
    assert owners == {("uid-1",)}, "the elephant, and nobody else's"
    mine = found["uid-1"]
    ways = [carried[f"{way}_pod1"] - truth[f"{way}_pod1"] for way in ("in", "out")]
    assert [mine.tx_bytes, mine.rx_bytes] == pytest.approx(ways, rel=WITHIN)
    assert SENT < mine.tx_bytes < 1.1 * SENT
