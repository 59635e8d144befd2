"""The agent is killed in mid-flow and started again; ended in order, it leaves nothing in the kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.kernel.guest.measuring import PATIENCE
from tests.kernel.guest.network import PORT, SERVER4, Network, network
from tests.kernel.guest.process import agent
from tests.kernel.guest.traffic import Connection, Stream


@pytest.fixture
def net() -> Iterator[Network]:
    """A node of its own: on the others' node their source is running. Its kernel counts already, as it does where
    an agent has run before."""
    with network() as made:
        made.sysctl("net/netfilter/nf_conntrack_acct", "1")
        yield made


@pytest.fixture
def stream(net: Network) -> Iterator[Stream]:
    connection = Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT)
    with Stream(connection, 3_000_000) as running:
        yield running


def test_after_a_kill_the_next_agent_sees_the_running_elephant_and_counts_on(
    net: Network, source_name: str, stream: Stream
) -> None:
    with agent(net, source_name) as first:
        assert first.until_elephant()["elephants"] == ["uid-1"]
    with agent(net, source_name) as second:
        assert second.until_elephant()["elephants"] == ["uid-1"]
        stream.stop()
        net.quiet()
        before, truth = second.read(), net.counted()
        with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 1) as more:
            more.send(300_000)
            net.quiet()
            after, now = second.read(), net.counted()
        assert after["epoch"] == before["epoch"]
        grown = [a - b for a, b in zip(after["owners"]["uid-1"], before["owners"]["uid-1"], strict=True)]
        assert grown == [now[way] - truth[way] for way in ("in_pod1", "out_pod1")]
        assert second.end() == 0


def loaded() -> set[int]:
    """Ids of the eBPF programs in the kernel."""
    shown = subprocess.run(["bpftool", "prog", "list", "-j"], capture_output=True, check=True, text=True).stdout
    return {program["id"] for program in json.loads(shown or "[]")}


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed here; it is in the guests")
def test_an_agent_that_ends_in_order_leaves_no_program_in_the_kernel(net: Network, source_name: str) -> None:
    before = loaded()
    with agent(net, source_name) as running:
        running.read()
        assert source_name == "ctnetlink" or loaded() > before
        assert running.end() == 0
    deadline = time.monotonic() + PATIENCE  # the kernel frees programs a little later
    while (left := loaded() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == set()
