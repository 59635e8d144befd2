# SPDX-License-Identifier: Apache-2.0
"""What befalls nodes that are machines: the power is cut, or the clock is wrong. The others never notice.

The tests share one release, whose agents give frequent signs of life. Each leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from footprint.keys import lease_name
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import eventually, get, metrics
from tests.node.support import chart, vm
from tests.node.support.accounting import counting, settle
from tests.node.support.chart import NAME
from tests.node.support.vm import NATIVE, NODES, VMS
from tests.node.support.workloads import SINK, carried, pod

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.outage, pytest.mark.timeout(900)]

MEBIBYTES: Final = 20
BACK_SECONDS: Final = 420
"""An emulated machine that boots, and its agent, while others have the processors too."""


@pytest.fixture(scope="module")
def release(vm_lab: RealLab) -> RealLab:
    """Its agents give signs of life every few seconds."""
    vm.upgraded(vm_lab, vm.FREQUENT)
    return vm_lab


def renewed(lab: RealLab, node: str) -> datetime:
    """When a node's agent has renewed its Lease, by that node's clock."""
    said = get(lab, "lease", lease_name(node), "-n", NAME)["spec"]["renewTime"]
    return datetime.fromisoformat(said)


def states(lab: RealLab) -> list[dict[str, int]]:
    """How many nodes each extender calls known, stale and so on."""
    found = []
    for each in chart.pods(lab, "extender"):
        shown = metrics(f"http://{each['status']['podIP']}:8891/metrics")
        prefix = 'traffic_footprint_extender_nodes{state="'
        found.append({key[len(prefix) : -2]: int(value) for key, value in shown.items() if key.startswith(prefix)})
    return found


def all_call(lab: RealLab, **counts: int) -> bool:
    """Whether every extender does so, and there is one."""
    return bool(all_of := states(lab)) and all(counts.items() <= one.items() for one in all_of)


def counts_right(lab: RealLab, node: str) -> None:
    """What a new pod there sends to the node in a namespace is counted to two per cent."""
    sink, sender = pod("sink", SINK, node=NATIVE), pod("sender", ["sleep", "100000"], node=node)
    with vm.running(lab, sink, sender) as made:
        (sends,) = counting((vm.index(node), made["sender"]["metadata"]["uid"]))
        before = carried(lab, "sender")
        vm.send(lab, "sender", made["sink"]["status"]["podIP"], MEBIBYTES)
        sent = carried(lab, "sender").since(before).tx
        settle(sends)
        sends.is_about("tx", sent)


# -- power --------------------------------------------------------------------------------------------------------


def test_a_machine_whose_power_was_cut_comes_back_and_compiles_nothing(release: RealLab) -> None:
    node, others = VMS[-1], (NATIVE, *VMS[:-1])
    machine = vm.machine(release, node)
    kept, pinned = vm.left(release, node, vm.KEPT), vm.left(release, node, vm.PINS)
    assert kept
    assert pinned
    uid, lease = vm.agent(release, node)["metadata"]["uid"], renewed(release, node)
    machine.stop()
    eventually("the extenders call it stale", lambda: all_call(release, known=len(others), stale=1), 120)
    assert vm.all_ready(release, others), "the others never notice"

    machine.start()
    eventually("its containers are new", lambda: _restarted(release, node), BACK_SECONDS)
    eventually("node and agent are ready", lambda: vm.all_ready(release, [node]), BACK_SECONDS)
    assert vm.agent(release, node)["metadata"]["uid"] == uid, "the same pod"
    begun = vm.began(release, node)
    assert not begun.adopted, f"nothing was pinned any more: {begun.log}"
    assert begun.compiled == 0, f"what was compiled is on the disk: {begun.log}"
    assert vm.left(release, node, vm.KEPT) == kept
    eventually("its Lease is renewed", lambda: renewed(release, node) > lease, 90)
    eventually("the extenders know it again", lambda: all_call(release, known=len(NODES)), 90)
    counts_right(release, node)


def _restarted(lab: RealLab, node: str) -> bool:
    (status,) = vm.agent(lab, node)["status"]["containerStatuses"]
    return bool(status["restartCount"])


# -- time ---------------------------------------------------------------------------------------------------------


@contextmanager
def clock_off(lab: RealLab, node: str, by: timedelta) -> Iterator[None]:
    """Within this block a node's clock is wrong."""
    set_clock(lab, node, by)
    try:
        yield
    finally:
        set_clock(lab, node, timedelta())


def set_clock(lab: RealLab, node: str, by: timedelta) -> None:
    vm.machine(lab, node).run(["date", "--set", f"@{(datetime.now(UTC) + by).timestamp():.0f}"])


def test_a_clock_that_is_a_day_ahead_changes_nothing(release: RealLab) -> None:
    """Its Lease bears tomorrow's date, and nobody reads that."""
    node, day = VMS[0], timedelta(days=1)
    with clock_off(release, node, day):
        tomorrow = datetime.now(UTC) + day / 2
        eventually("the Lease bears its date", lambda: renewed(release, node) > tomorrow, 120)
        assert all_call(release, known=len(NODES))
        counts_right(release, node)
        assert all_call(release, known=len(NODES))
    eventually("the Lease bears today's date", lambda: renewed(release, node) < tomorrow, 120)
    assert all_call(release, known=len(NODES)), "a Lease whose time goes back is a sign of life too"
