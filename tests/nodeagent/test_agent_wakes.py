# SPDX-License-Identifier: Apache-2.0
"""The loop over the real ring buffer: the kernel side makes an elephant, and nothing else would wake the loop."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from lab.bench.agent.loop import Recorder, unconnected
from lab.bench.bpf.synthetic import NAMESPACE, Synthetic, What
from nodeagent.agent import Agent
from nodeagent.sources.base import Locality
from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.btf.kernel import DIRECTORY, VMLINUX
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.loader import Options, Session
from nodeagent.sources.ebpf.programs import Programs
from nodeagent.sources.ebpf.source import EbpfSource

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root"),
    pytest.mark.skipif(not (DIRECTORY / VMLINUX).exists(), reason="this kernel publishes no BTF"),
]

POD, PEER = socket.inet_aton("10.0.0.1"), socket.inet_aton("192.0.2.9")
SIZES = Sizes(flows=1024, addresses=64, slots=16, seeds=1024, elephants=4, event_bytes=16 * 4096)
PATIENCE = 60.0
"""Seconds; what is waited for takes milliseconds on an idle machine."""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def synthetic() -> Iterator[Synthetic]:
    try:
        made = Synthetic(16, SIZES)
    except PermissionError:
        pytest.skip("this kernel does not let programs be loaded")
    with closing(made):
        yield made


@pytest.fixture
def source(synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch) -> Iterator[EbpfSource]:
    monkeypatch.setattr(loader, "start", lambda _: Session(synthetic.maps, Programs({}, {}), "test"))
    monkeypatch.setattr(loader, "own_namespace", lambda: NAMESPACE)
    made = EbpfSource(locality=Locality(pods={POD: "u"}), options=Options(sizes=SIZES, pins=None))
    made.open()
    yield made
    made.close()


def elephant(synthetic: Synthetic, entry: int = 0) -> None:
    synthetic.connect(entry, POD, PEER, ports=(40_000 + entry, 80))
    for _ in range(12):
        synthetic.run(What.ACCOUNT, entry, size=2**20)


def test_the_source_wakes_for_an_elephant_until_it_was_read(source: EbpfSource, synthetic: Synthetic) -> None:
    assert not source.wait(0)
    elephant(synthetic)
    assert source.wait(PATIENCE)
    assert len(source.read(time.monotonic()).elephants) == 1
    assert not source.wait(0)


def test_an_elephant_is_read_long_before_the_next_reading_is_due(source: EbpfSource, synthetic: Synthetic) -> None:
    made: tuple[Agent, Recorder] = unconnected(source, {POD: "u"}, uplink="lo", capacity=1e9, poll_interval=3600.0)
    agent, stop = made[0], threading.Event()
    loop = threading.Thread(target=agent.run, args=(stop,))
    loop.start()
    try:
        wait_for(lambda: agent.figures.readings == 1)
        elephant(synthetic)
        wait_for(lambda: agent.figures.readings == 2)
        assert agent.figures.elephants_begun == 1
    finally:
        stop.set()
        loop.join(PATIENCE)
    assert not loop.is_alive()
