# SPDX-License-Identifier: Apache-2.0
"""Agents that are killed, ended in order and replaced, while traffic goes on.

An agent ends by SIGKILL without putting anything in order, or in order and followed by another one: an eBPF
program that is pinned counts on, and the next agent of the same build takes it over. One of another build unloads
it and begins anew, and `unload` removes it for good. ctnetlink leaves nothing behind, and its successor begins
with the connections that are there.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.sources.ebpf import loader, preflight
from nodeagent.sources.ebpf.compiling.build import sources as c_sources
from nodeagent.sources.ebpf.kernel import bpf, pins
from nodeagent.sources.findings import Presence
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import PATIENCE
from tests.kernel.guest.network import PORT, SERVER4, Network, network
from tests.kernel.guest.process import Agent, agent
from tests.kernel.guest.skips import assert_sent
from tests.kernel.guest.sources import CTNETLINK, EBPF, MODES
from tests.kernel.guest.traffic import Connection, Stream, again_and_again

RATE = 3_000_000
UNREACHABLE = "1e12"
_PROGRAM_NEXT_ID = 11  # BPF_PROG_GET_NEXT_ID


@pytest.fixture(scope="module")
def node() -> Iterator[Network]:
    """A node of its own: on the shared one other sources are running. Its kernel counts already, as it does where
    an agent has run before."""
    with network() as made:
        made.sysctl("net/netfilter/nf_conntrack_acct", "1")
        yield made


@pytest.fixture
def net(node: Network) -> Iterator[Network]:
    """Without any connection, and left without any program and pin."""
    node.quiet()
    node.flush()
    before = loaded()
    yield node
    deadline = time.monotonic() + PATIENCE  # the kernel frees programs a little later
    while (left := loaded() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == set(), "programs were left in the kernel"
    assert not pinned(node).exists(), "pins were left behind"


def stream(net: Network) -> Stream:
    return Stream(Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT), RATE)


def loaded() -> set[int]:
    """Ids of the eBPF programs in the kernel."""
    found, number = set[int](), 0
    while True:
        try:
            _, attributes = bpf._bpf(_PROGRAM_NEXT_ID, struct.pack("=III", number, 0, 0))  # type: ignore[arg-type]
        except FileNotFoundError:
            return found
        number = struct.unpack_from("=I", attributes, 4)[0]
        found.add(number)


def pinned(net: Network) -> Path:
    with netns.entered(net.node):
        return pins.directory(loader.own_namespace())


def assert_counts_on(running: Agent, net: Network) -> None:
    """What one more connection carries is charged to the byte."""
    net.quiet()
    before, truth = running.read(), net.counted()
    with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 1) as more:
        more.send(300_000)
        net.quiet()
        after, now = running.read(), net.counted()
    assert after["epoch"] == before["epoch"]
    grown = [a - b for a, b in zip(after["owners"]["uid-1"], before["owners"]["uid-1"], strict=True)]
    assert grown == [now[way] - truth[way] for way in ("in_pod1", "out_pod1")]


@pytest.mark.parametrize("source", EBPF)
@pytest.mark.parametrize("ending", ["killed", "replaced"])
def test_a_killed_or_replaced_agents_program_counts_on_and_the_next_takes_it_over_without_losing_a_byte(
    net: Network, source: str, ending: str
) -> None:
    before, truth = loaded(), net.counted()
    with agent(net, source, *(["--keep"] if ending == "replaced" else [])) as first:
        assert first.read()["mode"] == MODES[source]
        with stream(net) as running:
            seen = first.until_elephant()
            (owner, _) = seen["elephants"][0]
            assert owner == "uid-1"
            programs = loaded() - before
            assert len(programs) == 3
            if ending == "killed":
                first.kill()
            else:
                assert first.end() == 0
            assert loaded() - before == programs, "the program must go on without its agent"
            with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 1) as unattended:
                unattended.send(200_000)
            with agent(net, source) as second:
                taken = second.read()
                assert taken["adopted"]
                assert taken["mode"] == MODES[source]
                assert loaded() - before == programs
                assert taken["elephants"] == seen["elephants"]  # since when, included: the flow's state was kept
                running.stop()
                net.quiet()
                reading, now = second.read(), net.counted()
                carried = [now[way] - truth[way] for way in ("in_pod1", "out_pod1")]
                assert_sent(source, reading["owners"]["uid-1"], carried, reading["lost"])
                assert reading["born"] == 2
                assert second.end() == 0


def test_after_a_kill_the_next_ctnetlink_agent_sees_the_running_elephant_and_counts_on(net: Network) -> None:
    with stream(net) as running:
        with agent(net, CTNETLINK) as first:
            assert first.until_elephant()["elephants"][0][0] == "uid-1"
        with agent(net, CTNETLINK) as second:
            assert second.until_elephant()["elephants"][0][0] == "uid-1"
            running.stop()
            assert_counts_on(second, net)
            assert second.end() == 0


def test_an_agent_with_other_thresholds_takes_the_program_over_and_judges_by_its_own(net: Network) -> None:
    (source, *_) = EBPF
    with stream(net) as running:
        with agent(net, source, f"--elephant-rate={UNREACHABLE}") as first:
            first.read()
            time.sleep(1)
            assert first.read()["elephants"] == []
        with agent(net, source) as second:
            assert second.read()["adopted"]
            assert second.until_elephant()["elephants"][0][0] == "uid-1"
            running.stop()
            assert second.end() == 0


@pytest.mark.parametrize("other", ["build", "size"])
def test_an_agent_of_another_build_or_size_replaces_the_program_and_sees_the_running_elephant(
    net: Network, other: str, tmp_path: Path
) -> None:
    (source, *_) = EBPF
    options, environment = ["--flows=4096"] if other == "size" else [], {}
    if other == "build":
        changed = shutil.copytree(c_sources(), tmp_path / "bpf")
        with (changed / "state.h").open("a") as header:
            header.write("#define ANOTHER_BUILD 1\n")
        builds.share(MODES[source], changed)
        environment = {"TRAFFIC_FOOTPRINT_BPF_SOURCES": str(changed)}
    before = loaded()
    with stream(net) as running:
        with agent(net, source) as first:
            first.read()
            predecessors = loaded() - before
        with agent(net, source, *options, environment=environment) as second:
            taken = second.read()
            assert (taken["mode"], taken["adopted"]) == (MODES[source], False)
            assert len(predecessors) == len(loaded() - before) == 3
            assert not predecessors & loaded()
            assert second.until_elephant()["elephants"][0][0] == "uid-1"
            running.stop()
            assert_counts_on(second, net)
            assert second.end() == 0


@pytest.mark.parametrize("source", EBPF)
def test_what_was_left_for_a_successor_that_never_comes_is_unloaded_when_asked(net: Network, source: str) -> None:
    before = loaded()
    with agent(net, source, "--keep") as running:
        running.read()
        assert running.end() == 0
    assert len(loaded() - before) == 3
    with netns.entered(net.node):
        done = subprocess.run(
            [sys.executable, "-c", "from nodeagent.cli import main; main()", "unload"],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    assert done.stdout == f"unloaded {pinned(net)}\n"  # and the fixture looks for what is left


@pytest.mark.parametrize("source", EBPF)
def test_of_a_program_that_lost_a_hook_nothing_is_taken_over(net: Network, source: str) -> None:
    before = loaded()
    with stream(net) as running:
        with agent(net, source, "--keep") as first:
            first.read()
            assert first.end() == 0
        (pinned(net) / "link-birth").unlink()
        predecessors = loaded() - before
        with agent(net, source) as second:
            assert not second.read()["adopted"]
            assert not predecessors & loaded()
            assert second.until_elephant()["elephants"][0][0] == "uid-1"
            running.stop()
            assert_counts_on(second, net)
            assert second.end() == 0


@pytest.mark.parametrize("source", EBPF)
def test_an_agent_that_ends_in_order_leaves_no_program_and_no_pin(net: Network, source: str) -> None:
    before = loaded()
    with agent(net, source) as running:
        running.read()
        assert len(loaded() - before) == 3
        assert pinned(net).exists()
        assert running.end() == 0  # the fixture looks for what is left


@pytest.mark.parametrize("source", EBPF)
def test_a_preflight_beside_an_agent_says_how_it_measures_and_attaches_nothing(net: Network, source: str) -> None:
    with agent(net, source) as running, stream(net):
        running.until_elephant()
        before, seen = loaded(), set[int]()
        with again_and_again(lambda: seen.update(loaded()), every=0.002), netns.entered(net.node):
            found = {finding.capability: finding for finding in preflight.findings()}
        assert seen == before, "the preflight loaded programs of its own"
        mine = found[f"eBPF on conntrack by {MODES[source]}"]
        assert mine.answer is Presence.YES
        assert "an agent measures so here now" in mine.detail
        assert preflight.measures(found.values())
        assert running.read()["mode"] == MODES[source]
        assert running.end() == 0
