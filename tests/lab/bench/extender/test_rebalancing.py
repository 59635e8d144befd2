# SPDX-License-Identifier: Apache-2.0
"""Moves in simulated time: a drifting cluster is mended, and provoked ping-pong does not happen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from extender.model.demand import Demand, Origin
from extender.model.pods import WorkloadKey
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from footprint.classes import TrafficClass
from lab.bench.extender.drifting import Drifting, Rebalanced
from lab.bench.extender.placement_quality import LOWER_BOUND, PACKED
from lab.bench.extender.rebalancing import NONE, simulate

ACT = RebalanceConfig(RebalanceMode.ACT)
HOURS = 3.0


def test_a_drifting_clusters_mice_wait_less_with_moves_and_no_workload_is_moved_more_than_its_share() -> None:
    none, moved, packed, bound = simulate(40, HOURS, [(NONE, RebalanceConfig()), ("act", ACT)], 1, 3 * 3600.0)
    assert (packed.policy, bound.policy, none.moves) == (PACKED, LOWER_BOUND, 0)
    assert moved.moves > 0
    assert moved.mean_wait < none.mean_wait
    assert moved.waiting_mice < none.waiting_mice
    assert bound.mean_wait <= packed.mean_wait <= moved.mean_wait
    assert moved.moves <= 60 * HOURS
    assert moved.most_of_a_workload <= 1 + HOURS * 3600 / ACT.cooldown


def test_a_cluster_that_was_filled_without_the_extender_is_mended() -> None:
    cluster = Drifting(30, every=1e9)
    cluster.place_all(by_extender=False)
    waited = _waiting(cluster)
    rebalanced = Rebalanced(cluster, ACT)
    for _ in range(180):
        cluster.step(60.0)
        rebalanced.round()
    assert waited > 0
    assert _waiting(cluster) < waited
    before = len(rebalanced.moves)
    for _ in range(60):
        cluster.step(60.0)
        rebalanced.round()
    assert len(rebalanced.moves) - before <= 2, "what stands right is left alone"


def _waiting(cluster: Drifting) -> float:
    return sum(view.waiting * view.link.mice for view in cluster.views.values())


def _provoked(config: RebalanceConfig) -> list[tuple[float, WorkloadKey, str, str]]:
    """The moves of 30 minutes on two nodes whose elephants take turns: mice are always better elsewhere."""
    cluster = Drifting(2, pods=2, copies=1, every=1e12)
    cluster.place_all(by_extender=False)
    rebalanced = Rebalanced(cluster, config)
    names = sorted(cluster.on)
    bulk = {names[0]: ("default", "Deployment/w0"), names[1]: ("default", "Deployment/w1")}
    mice = [("default", "Deployment/w2"), ("default", "Deployment/w3")]
    at = {pod.key: uid for uid, pod in cluster.info.items()}
    for name in names:
        cluster.on[name] = {}
    for key, name in [(bulk[names[0]], names[0]), (bulk[names[1]], names[1]), *((one, names[0]) for one in mice)]:
        cluster.at[at[key]] = name
        cluster.on[name][at[key]] = None
    for name in names:  # nobody moves the elephants themselves
        uid = at[bulk[name]]
        cluster.info[uid] = replace(cluster.info[uid], controller="")
    busy = Demand(TrafficClass.ELEPHANT, 2.2e9, 0.0, 0.0, Origin.LEARNED, 1)
    idle = Demand(TrafficClass.QUIET, origin=Origin.LEARNED, pods=1)
    web = Demand(TrafficClass.MOUSE, 0.0, 0.0, 1.0, Origin.LEARNED, 1)
    for minute in range(90):  # an hour first, so that no pod is too young to be moved
        full = names[minute // 2 % 2]
        for name in names:
            cluster.learned[bulk[name]] = busy if name == full else idle
        for one in mice:
            cluster.learned[one] = web
        cluster.step(60.0)
        cluster._refresh(names)
        if minute >= 60:
            rebalanced.round()
    return rebalanced.moves


def test_ping_pong_is_provoked_and_does_not_happen() -> None:
    hasty = replace(ACT, sustain=0.0, cooldown=0.0, node_interval=0.0, per_minute=60.0)
    assert max(Counter(key for _, key, _, _ in _provoked(hasty)).values()) >= 5, "the scenario provokes it"
    assert _provoked(ACT) == [], "nothing is worth it for long"


def test_without_the_sustained_time_the_cooldown_alone_ends_it() -> None:
    """Each rule holds by itself."""
    moves = _provoked(replace(ACT, sustain=0.0, node_interval=0.0, per_minute=60.0))
    assert moves
    assert max(Counter(key for _, key, _, _ in moves).values()) == 1
