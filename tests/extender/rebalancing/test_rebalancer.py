# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from extender.cluster.state import ClusterState
from extender.model.pods import PodInfo
from extender.model.snapshot import Snapshot
from extender.placement.policy import Policy
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from extender.rebalancing.evictor import ADVISED, MOVED, event, eviction
from extender.rebalancing.gain import Misplaced
from extender.rebalancing.history import FAILURES
from extender.rebalancing.plan import Examined, Move, first_fit
from extender.rebalancing.reader import DoubtError
from extender.rebalancing.rebalancer import Rebalancer
from footprint.cluster.client import ApiError
from footprint.declared import Rebalance
from footprint.models import PodFootprint
from tests.extender.builders import elephant, mouse, pod_info
from tests.extender.rebalancing.builders import AT_ONCE, misplaced
from tests.extender.states import Clock, measured, settle

MANY = replace(AT_ONCE, interval=1.0)


class Api:
    """What the rebalancer asks and sends, and what it is told."""

    def __init__(self) -> None:
        self.says: Rebalance | DoubtError | None = None
        self.fails: list[int] = []
        self.evicted: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.doubts = 0

    def examine(self, found: Misplaced, busy: Collection[str]) -> Examined:
        fit = first_fit(found, busy, 4.0, lambda _name: None)
        assert not isinstance(fit, str)
        return Examined(None, *fit, 60.0)

    def namespace(self, _name: str) -> Rebalance | None:
        if isinstance(self.says, DoubtError):
            raise self.says
        return self.says

    def evict(self, move: Move) -> None:
        if self.fails:
            raise ApiError(self.fails.pop(0), "no")
        self.evicted.append(move.found.pod.uid)

    def tell(self, move: Move, reason: str) -> None:
        self.told.append((move.found.pod.uid, reason))


class Cluster:
    """Mixed nodes and a free one for each, and a rebalancer that leads."""

    def __init__(self, config: RebalanceConfig = MANY, mixed: int = 1) -> None:
        self.clock, self.api, self.leading = Clock(), Api(), True
        nodes: dict[str, Iterable[PodFootprint]] = {}
        for n in range(mixed):
            nodes[f"full{n}"] = [
                elephant(f"e{n}", wl=f"Job/{n}"), mouse(f"m{n}", wl=f"Deployment/{n}"),
                mouse(f"n{n}", wl=f"Deployment/n{n}"),
            ]  # fmt: skip
            nodes[f"free{n}"] = []
        self.state: ClusterState = measured(self.clock, list(nodes), nodes)
        for name, pods in nodes.items():
            for pod in pods:
                self.state.put_pod(
                    pod_info(pod.uid, wl=pod.wl, node=name, phase="Running", controller="ReplicaSet")
                )
        settle(self.state)
        self.clock.now += 61.0  # measured now, not expected
        settle(self.state)
        self.rebalancer = Rebalancer(
            self.state, lambda: self.api, self.api, lambda: self.leading, config, clock=self.clock
        )

    def rounds(self, count: int = 1) -> Rebalancer:
        for _ in range(count):
            self.rebalancer.step()
            self.clock.now += 10.0
        return self.rebalancer


def test_a_misplaced_pod_is_evicted_once_and_its_event_says_so() -> None:
    cluster = Cluster()
    rebalancer = cluster.rounds(3)
    assert cluster.api.evicted[:1] == ["e0"]
    assert cluster.api.told[0] == ("e0", MOVED)
    assert rebalancer.moves["evicted"] == len(cluster.api.evicted)
    assert cluster.api.evicted.count("e0") == 1, "its successor does not run yet"


def test_requests_are_let_in_after_each_pod_that_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, events = Cluster(), list[str]()
    weigh = cluster.state.without

    def without(pod: PodInfo) -> Snapshot:
        events.append("lock")
        return weigh(pod)

    monkeypatch.setattr(cluster.state, "without", without)
    monkeypatch.setattr("time.sleep", lambda _seconds: events.append("rest"))
    cluster.rounds()
    assert events == ["lock", "rest"] * 3


def test_advice_evicts_nothing_and_is_told_once() -> None:
    cluster = Cluster(replace(MANY, mode=RebalanceMode.ADVISE))
    rebalancer = cluster.rounds(5)
    assert not cluster.api.evicted
    assert cluster.api.told.count(("e0", ADVISED)) == 1
    assert rebalancer.moves["advised"] == len(cluster.api.told)


def test_in_shadow_mode_act_only_advises() -> None:
    cluster = Cluster(replace(MANY, policy=Policy(shadow=True)))
    cluster.rounds(2)
    assert not cluster.api.evicted
    assert cluster.api.told


@pytest.mark.parametrize("says", [Rebalance.NEVER, DoubtError("403")])
def test_the_kill_switch_stops_everything_and_one_that_cannot_be_read_counts_as_set(
    says: Rebalance | DoubtError,
) -> None:
    cluster = Cluster()
    cluster.api.says = says
    with capture_logs() as logs:
        assert cluster.rounds(3).stopped
        assert not cluster.api.evicted
        cluster.api.says = None
        assert not cluster.rounds().stopped
    assert cluster.api.evicted
    told = [line["event"] for line in logs if line["event"] != "evicted"]
    assert told == ["moves no pods for now", "may move pods again"]


def test_what_was_done_counts_on_after_a_short_loss_of_the_lead() -> None:
    cluster = Cluster(replace(MANY, node_interval=1000.0))
    cluster.rounds()
    assert cluster.api.evicted == ["e0"]
    cluster.leading = False
    cluster.rounds()
    cluster.leading = True
    cluster.rounds(3)
    assert cluster.api.evicted == ["e0"], "its node had a move lately"


def test_a_halt_outlasts_a_short_loss_of_the_lead() -> None:
    cluster = Cluster()
    cluster.api.fails = [403]
    cluster.rounds()
    cluster.leading = False
    cluster.rounds()
    cluster.leading = True
    assert "evictions fail" in cluster.rounds(3).stopped
    assert not cluster.api.evicted


def test_a_replica_that_does_not_lead_sends_nothing_and_begins_to_look_anew() -> None:
    cluster = Cluster(replace(MANY, sustain=15.0))
    cluster.rounds(2)
    cluster.leading = False
    assert cluster.rounds(2).plan.misplaced == 0
    cluster.leading = True
    cluster.rounds(2)
    assert not cluster.api.evicted, "what was worth it must be so anew"
    cluster.rounds(5)
    assert cluster.api.evicted


def test_a_disruption_budgets_no_is_no_failure_and_leaves_others_their_turn() -> None:
    cluster = Cluster(mixed=3)
    cluster.api.fails = [429]
    rebalancer = cluster.rounds(2)
    assert rebalancer.moves["refused"] == 1
    assert not rebalancer.stopped
    assert cluster.api.evicted
    assert "e0" not in cluster.api.evicted


def test_evictions_that_fail_stop_everything_one_that_is_forbidden_at_once() -> None:
    cluster = Cluster(mixed=9)
    cluster.api.fails = [500] * FAILURES
    assert "evictions fail" in cluster.rounds(FAILURES).stopped
    cluster.rounds(3)
    assert not cluster.api.evicted
    forbidden = Cluster(mixed=9)
    forbidden.api.fails = [403]
    assert "manifests/components/rebalancing" in forbidden.rounds().stopped
    assert not forbidden.api.evicted


def test_a_workload_whose_evictions_always_fail_does_not_keep_others_from_being_moved() -> None:
    """Such as a pod with two PodDisruptionBudgets: the API server responds with 500."""
    cluster = Cluster(replace(MANY, cooldown=50.0, node_interval=1.0), mixed=3)
    first = cluster.api.evict

    def evict(move: Move) -> None:
        if move.found.pod.uid == "e0":
            raise ApiError(500, "This pod has more than one PodDisruptionBudget")
        first(move)

    cluster.api.evict = evict  # type: ignore[method-assign]
    rebalancer = cluster.rounds(FAILURES + 1)
    assert rebalancer.moves["failed"] == 1
    assert not rebalancer.stopped
    assert {"e1", "e2"} <= set(cluster.api.evicted)


def test_a_pod_that_is_gone_by_then_is_counted_and_changes_nothing() -> None:
    cluster = Cluster()
    cluster.api.fails = [404]
    rebalancer = cluster.rounds(2)
    assert rebalancer.moves["gone"] == 1
    assert not rebalancer.stopped


def test_a_successor_that_stays_pending_stops_everything() -> None:
    cluster = Cluster(replace(MANY, pending_limit=60.0), mixed=4)
    cluster.rounds()
    uid = cluster.api.evicted[0]
    key = cluster.state.nodes_of([uid])
    assert key
    gone = next(pod for pod in cluster.state.pods_on(key[uid]) if pod.uid == uid)
    cluster.state.drop_pod(uid)
    cluster.state.put_pod(replace(gone, uid="successor", node="", phase="Pending"))
    settle(cluster.state)
    with capture_logs() as logs:
        rebalancer = cluster.rounds(8)
    assert "pending" in rebalancer.stopped
    assert [line["why"] for line in logs if line["event"] == "moves no pods for now"] == [rebalancer.stopped]
    before = len(cluster.api.evicted)
    cluster.rounds(8)
    assert len(cluster.api.evicted) == before


def test_a_workload_that_has_pending_pods_already_is_not_moved_and_stops_nothing() -> None:
    cluster = Cluster(replace(MANY, pending_limit=20.0))
    for kind in ("Job/0", "Deployment/0"):
        cluster.state.put_pod(pod_info(f"waits for {kind}", wl=kind, phase="Pending", controller="ReplicaSet"))
    settle(cluster.state)
    rebalancer = cluster.rounds(6)
    assert cluster.api.evicted == ["n0"]
    assert not rebalancer.stopped
    assert any("pending already" in refusal.detail for refusal in rebalancer.plan.refused)


def test_an_eviction_names_the_pods_uid() -> None:
    assert eviction("web-1", "shop", "u")["deleteOptions"] == {"preconditions": {"uid": "u"}}


@pytest.mark.parametrize(("reason", "words"), [(MOVED, "evicted, so"), (ADVISED, "would be evicted")])
def test_an_event_says_what_was_done_and_why(reason: str, words: str) -> None:
    told = event(Move(misplaced(), "free", 0.0), reason, "replica", datetime.now(UTC))
    assert told["note"].startswith(words)
    assert "costs 19.0 on full and would cost 0.0 on free" in told["note"]
    assert (told["type"], told["reason"], told["regarding"]["kind"]) == ("Normal", reason, "Pod")
