# SPDX-License-Identifier: Apache-2.0
"""Whose heartbeat stopped is stale, by the extender's own monotonic clock; wall clocks, wherever, decide nothing.

Real agents measure real traffic. One agent and the extender run with wall clocks that the tests step meanwhile.
"""

from __future__ import annotations

import signal
import struct
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from footprint.cluster.events import micro_time
from footprint.keys import DEFAULT_NAMESPACE, POD_CLASS, POD_PLACEMENT, lease_name
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4
from lab.processes import Process
from lab.traffic import argv
from tests.cluster.conftest import logs_of
from tests.cluster.support.replicas import (
    SCHEDULER,
    TELLING,
    Replica,
    a_lab,
    eventually,
    extender,
    mouse_request,
    publish,
    renew,
    send,
)
from tests.cluster.support.workloads import agent_metrics, created, footprint, get, pod
from tests.cluster.support.workloads import running as pods_running

pytestmark = pytest.mark.cluster

STALE_AFTER = 60
"""Seconds, with renewals every one. What is done while an agent is stopped whose node must stay known takes a few
of them: room for a machine that is busy with other things."""
UNTIL_STALE = 3 * STALE_AFTER
"""Seconds to wait for a node to become stale: room again."""
HOURS = 5 * 3600
BUSY, OTHER, SILENT = "node1", "node2", "node3"


class SteppedClock:
    """A wall clock of its own for programs started with ``env``."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.step(0)
        self.env: Mapping[str, str] = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(file)}

    def step(self, seconds: int) -> None:
        """Set it off by ``seconds`` from now on, also where it runs already."""
        with self._file.open("r+b" if self._file.exists() else "wb") as offset:
            offset.write(struct.pack("=q", seconds))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled stepped_clock.c."""
    target = tmp_path_factory.mktemp("clock") / "stepped_clock.so"
    source = Path(__file__).parent / "stepped_clock.c"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", source, "-o", target], check=True
    )
    return target


@pytest.fixture(scope="module")
def clocks(library: Path) -> dict[str, SteppedClock]:
    """Of the agent of the busy node, and of the extender."""
    return {who: SteppedClock(library, library.parent / who) for who in ("agent", "extender")}


@pytest.fixture(scope="module")
def agents() -> dict[str, Process]:
    """By node; filled by ``cluster``."""
    return {}


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, clocks: dict[str, SteppedClock], agents: dict[str, Process]
) -> Iterator[Lab]:
    """Three nodes with agents that renew every second, an elephant on the first."""
    module = request.module.__name__.rpartition(".")[2]
    config = LabConfig(
        nodes=3, agents=False, extender=False, agent_args=("--lease-renew", "1"), keep_dir=logs_of(module)
    )
    with a_lab(config) as lab:
        for node in lab.node_names:
            agents[node] = lab.start_agent(node, env=clocks["agent"].env if node == BUSY else None)
        lab.spawn_in("outside", argv("sink"), name="sink")
        with pods_running(lab, pod("bulk", argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "150M"), node=BUSY)):
            yield lab


@pytest.fixture(scope="module")
def replica(cluster: Lab, clocks: dict[str, SteppedClock]) -> Iterator[Replica]:
    """An extender that knows all nodes, and kube-scheduler that asks it."""
    # What a TrafficFootprint remembers would outlive the measurement that is told stale.
    flags = ("--stale-after", str(STALE_AFTER), "--deadline", "10", "--no-learn")
    with extender(cluster, flags=flags, env=clocks["extender"].env) as asked:
        cluster.start_scheduler(extender=True, changes=SCHEDULER, flags=TELLING)
        eventually("all nodes are known, one as busy", lambda: known(asked) == 3 and told_off(asked, cluster))
        yield asked


def known(replica: Replica) -> int:
    return int(replica.count("nodes", state="known"))


def stale(replica: Replica) -> int:
    return int(replica.count("nodes", state="stale"))


def told_off(replica: Replica, cluster: Lab) -> bool:
    """Mice are kept off the busy node, and off no other."""
    return replica.rejects(cluster) == {BUSY}


def renewed_at(cluster: Lab, node: str) -> datetime:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{DEFAULT_NAMESPACE}/leases/{lease_name(node)}"
    return datetime.fromisoformat(send(cluster, "GET", path)["spec"]["renewTime"])


def renewals(cluster: Lab, node: str, count: int) -> Iterator[None]:
    """One step for each of the next ``count`` renewals of ``node``."""
    for _ in range(count):
        before = renewed_at(cluster, node)
        eventually("it renews", lambda before=before: renewed_at(cluster, node) != before)  # type: ignore[misc]
        yield


def test_an_agent_that_stops_makes_its_node_unknown_until_it_renews_again(
    cluster: Lab, replica: Replica, agents: dict[str, Process]
) -> None:
    agents[BUSY].send(signal.SIGSTOP)
    try:
        eventually("its node is stale", lambda: (stale(replica), known(replica)) == (1, 2), UNTIL_STALE)
        assert replica.rejects(cluster) == set(), "nothing known, nothing filtered"
        scores = {s["Host"]: s["Score"] for s in replica.post("prioritize", mouse_request(cluster.node_names))}
        assert scores == {BUSY: 5, OTHER: 5, SILENT: 5}
        strict = {POD_CLASS: "mouse", POD_PLACEMENT: "strict"}
        here = pod("pinned", ["sleep", "600"], annotations=strict, selector={"kubernetes.io/hostname": BUSY})
        with created(cluster, here) as [name]:
            bound = lambda: get(cluster, "pod", name)["spec"].get("nodeName")  # noqa: E731
            assert eventually("even a strict pod is bound", bound) == BUSY
    finally:
        agents[BUSY].send(signal.SIGCONT)
    eventually("it is known again, as busy", lambda: known(replica) == 3 and told_off(replica, cluster))


def _rate(cluster: Lab) -> float:
    """bit/s of elephants, as the busy node's annotation tells."""
    shown = footprint(cluster, BUSY)
    assert shown is not None
    assert not shown.bad
    return shown.el.tx


def test_the_clock_of_an_agent_changes_neither_its_rates_nor_its_heartbeat(
    cluster: Lab, replica: Replica, clocks: dict[str, SteppedClock]
) -> None:
    try:
        for offset in (HOURS, -HOURS, 0):
            clocks["agent"].step(offset)
            expected = datetime.now(UTC) + timedelta(seconds=offset)
            eventually(
                "its Lease tells the stepped time",
                lambda expected=expected: abs(renewed_at(cluster, BUSY) - expected) < timedelta(minutes=30),  # type: ignore[misc]
            )
            readings = agent_metrics(1)["traffic_footprint_agent_readings_total"]
            for _ in renewals(cluster, BUSY, 3):
                assert (known(replica), stale(replica)) == (3, 0)
                assert told_off(replica, cluster)
            assert agent_metrics(1)["traffic_footprint_agent_readings_total"] > readings
            # What another program takes of the processor, the sender lacks for a while.
            eventually("the rate is the elephant's", lambda: _rate(cluster) == pytest.approx(150e6, rel=0.2), 60)
    finally:
        clocks["agent"].step(0)


def test_neither_the_time_in_a_lease_nor_the_extenders_wall_clock_makes_anything_stale_or_fresh(
    cluster: Lab, replica: Replica, agents: dict[str, Process], clocks: dict[str, SteppedClock]
) -> None:
    agents[SILENT].send(signal.SIGSTOP)
    try:
        ahead = micro_time(datetime.now(UTC) + timedelta(seconds=HOURS))
        renew(cluster, SILENT, ahead)
        eventually("stale, though renewed in hours from now", lambda: stale(replica) == 1, UNTIL_STALE)
        for turn, offset in enumerate((HOURS, -HOURS, 0)):
            for _ in renewals(cluster, OTHER, 1):
                # Until its next renewal nothing but time can change what is believed of it.
                agents[OTHER].send(signal.SIGSTOP)
            clocks["extender"].step(offset)
            expected = datetime.now(UTC) + timedelta(seconds=offset)
            eventually(
                "its wall clock is stepped",
                lambda expected=expected: abs(wall_clock(replica) - expected) < timedelta(minutes=30),  # type: ignore[misc]
            )
            judged_anew(cluster, replica, f"judged-{turn}")
            assert (known(replica), stale(replica)) == (2, 1)
            agents[OTHER].send(signal.SIGCONT)
        renew(cluster, SILENT, ahead)
        judged_anew(cluster, replica, "unchanged")
        assert stale(replica) == 1, "what did not change is no sign of life"
        renew(cluster, SILENT, micro_time(datetime.now(UTC) - timedelta(seconds=HOURS)))
        eventually("hours behind is a sign of life like any other", lambda: known(replica) == 3)
    finally:
        for node in (SILENT, OTHER):
            agents[node].send(signal.SIGCONT)
        clocks["extender"].step(0)


def judged_anew(cluster: Lab, replica: Replica, mark: str) -> None:
    """Change the silent node, and return when that has been taken in: a Node made afterwards is there."""
    before = replica.count("nodes")
    publish(cluster, SILENT, mark)
    send(cluster, "POST", "/api/v1/nodes", body={"metadata": {"name": mark}})
    eventually("the node is seen", lambda: replica.count("nodes") == before + 1)


def wall_clock(replica: Replica) -> datetime:
    """The extender's wall clock, as its responses state it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.pages_port}/readyz", timeout=30) as response:
        return parsedate_to_datetime(response.headers["date"])
