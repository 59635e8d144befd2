# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.learning.config import LearnerConfig
from extender.learning.learner import WRITE_BURST, Learner
from extender.model.demand import Tally
from extender.model.pods import WorkloadKey
from extender.model.trafficfootprint import decode_record, new_object
from extender.model.trafficfootprint_name import object_name
from tests.extender.builders import M
from tests.extender.learning.builders import BACKUP, NOW, WEB, MemoryStore
from tests.extender.model.test_profile import bulk, web
from tests.extender.states import Clock

NAME = object_name(BACKUP[1])


class World:
    """A learner, what it is shown, and what it writes."""

    def __init__(self, **config: Any) -> None:
        self.measured: dict[WorkloadKey, Tally] = {}
        self.store, self.clock, self.may_write, self.wall = MemoryStore(), Clock(), True, NOW
        self.index = TrafficFootprintIndex(lambda _changes: None)
        self.learner = self.another(**config)

    def another(self, **config: Any) -> Learner:
        """A learner that knows nothing yet, as after a restart."""
        return Learner(
            lambda: self.measured, self.index, self.store, lambda: self.may_write, LearnerConfig(**config),
            clock=self.clock, wall=lambda: self.wall,
        )  # fmt: skip

    def step(self, times: int = 1, seconds: float = 30.0) -> None:
        """Looks, with time between them in which the watch shows what was written."""
        for _ in range(times):
            self.learner.step()
            self.show()
            self.clock.now += seconds
            self.wall += seconds

    def show(self) -> None:
        self.index.replace([decode_record(obj) for obj in self.store.objects.values()])

    def status(self, key: WorkloadKey = BACKUP) -> dict[str, Any]:
        found: dict[str, Any] = self.store.objects[key[0], object_name(key[1])].get("status", {})
        return found


@pytest.fixture
def world() -> World:
    return World()


def test_a_measured_workload_gets_an_object_that_says_what_it_does(world: World) -> None:
    world.measured = {BACKUP: bulk(150 * M, peak=190 * M)}
    world.step(2)
    assert world.status()["elephants"]["tx"] == {"typical": "150M", "peak": "190M"}
    assert (world.status()["class"], world.status()["samples"]) == ("elephant", 2)
    assert world.store.objects["shop", NAME]["spec"] == {"workload": "CronJob/backup"}
    assert world.learner.writes == {"create": 1, "status": 1}


def test_a_steady_workload_is_written_a_handful_of_times_a_day(world: World) -> None:
    world.measured = {BACKUP: bulk(150 * M), WEB: web(9)}
    world.step(2 * 60 * 24)
    # Two creations; confidence at 40, 62, 82 and percent; four sightings.
    assert world.learner.writes["create"] == 2
    assert world.learner.writes["status"] <= 2 * 9
    assert world.wall - decode_record(world.store.objects["shop", NAME]).last_seen <= 6 * 3600 + 30  # type: ignore[operator]


def test_who_does_not_lead_writes_nothing_and_starts_from_the_objects_when_it_does(world: World) -> None:
    world.measured = {BACKUP: bulk(150 * M)}
    world.step(5)
    asked = len(world.store.asked)
    world.may_write = False
    world.measured = {BACKUP: bulk(10 * M)}
    world.step(20)
    assert len(world.store.asked) == asked
    world.may_write = True
    world.step(1)
    assert world.status()["elephants"]["tx"]["typical"] == "150M", "one sample among many moves little"


def test_a_restart_goes_on_with_what_was_written(world: World) -> None:
    world.measured = {BACKUP: bulk(100 * M)}
    world.step(50)
    samples = world.status()["samples"]
    world.learner = world.another()
    world.measured = {BACKUP: bulk(100 * M) + web()}
    world.step(samples)
    assert world.status()["samples"] > samples
    assert world.status()["class"] == "elephant", "what was written weighs as much as its samples"
    world.step(2 * samples)
    assert world.status()["class"] == "mixed"


def test_pods_that_have_ended_are_counted_once(world: World) -> None:
    world.measured = {BACKUP: Tally(active=1, hurting=1, tx=80 * M, peak_tx=80 * M)}
    world.step(30)
    assert world.store.objects == {}, "one reading"
    world.measured = {BACKUP: Tally(active=1, hurting=1, tx=90 * M, peak_tx=90 * M)}
    world.step(30)
    assert world.status()["samples"] == 2


def test_what_people_wrote_is_never_touched(world: World) -> None:
    spec = {"workload": "CronJob/backup", "class": "mouse", "placement": "strict"}
    mine = {**new_object(BACKUP), "spec": spec}
    world.store.create({**mine, "metadata": {"namespace": "shop", "name": "mine"}})
    world.show()
    world.measured = {BACKUP: bulk(150 * M)}
    world.step(3)
    assert [name for _, name in world.store.objects] == ["mine"]
    assert world.store.objects["shop", "mine"]["spec"] == spec
    assert world.store.objects["shop", "mine"]["status"]["class"] == "elephant"


def test_deleting_an_object_makes_the_workload_start_anew(world: World) -> None:
    world.measured = {BACKUP: bulk(150 * M)}
    world.step(50)
    assert world.status()["samples"] > 2
    world.store.objects.clear()
    world.show()
    world.measured = {BACKUP: web()}
    world.step(2)
    assert (world.status()["class"], world.status()["samples"]) == ("mouse", 2)


def test_what_is_gone_for_longer_than_the_retention_is_forgotten() -> None:
    world = World(retention=7 * 86400.0)
    world.measured = {BACKUP: bulk(150 * M), WEB: web()}
    world.step(3)
    world.measured = {WEB: web()}
    world.step(6, seconds=86400.0)
    assert ("shop", NAME) in world.store.objects
    world.step(3, seconds=86400.0)
    assert [decode_record(o).key for o in world.store.objects.values()] == [WEB]
    assert world.learner.writes["delete"] == 1


def test_a_hundred_new_workloads_are_written_within_the_budget(world: World) -> None:
    world.measured = {("shop", f"Job/{n}"): bulk(50 * M) for n in range(100)}
    world.step(2, seconds=1.0)
    world.learner.step()
    first = len(world.store.asked)
    assert first <= WRITE_BURST + 2
    world.step(10, seconds=30.0)
    assert len(world.store.objects) == 100
    assert world.learner.writes == {"create": 100, "status": 100}


def test_a_full_cluster_is_counted(world: World) -> None:
    world.learner = world.another(capacity=3)
    world.measured = {("shop", f"Job/{n}"): bulk(50 * M) for n in range(5)}
    world.step(5)
    assert len(world.store.objects) == 3
    assert world.learner.left_out == 2


def test_a_learner_that_may_not_write_asks_nothing(world: World) -> None:
    world.may_write = False
    world.measured = {BACKUP: bulk(150 * M)}
    world.step(5)
    assert world.store.asked == []


def test_an_api_server_that_is_away_is_left_alone_until_the_next_look(world: World) -> None:
    world.measured = {("shop", f"Job/{n}"): bulk(50 * M) for n in range(5)}
    world.step(1)
    world.store.fails = [0]
    world.step(1)
    assert len(world.store.asked) == 1
    assert world.learner.errors == {"0": 1}
    world.step(3)
    assert len(world.store.objects) == 5


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_refusal_of_one_workload_does_not_hold_up_the_others(world: World, status: int) -> None:
    world.measured = {BACKUP: bulk(50 * M), WEB: web()}
    world.step(1)
    world.store.fails = [status]
    world.step(1)
    assert len(world.store.objects) == 1
    assert world.learner.errors == {str(status): 1}
    world.step(5)
    assert len(world.store.objects) == 1, "it is left alone for minutes"
    world.step(30)
    assert len(world.store.objects) == 2


def test_a_missing_right_costs_one_request_a_look(world: World) -> None:
    world.measured = {("shop", f"Job/{n}"): bulk(50 * M) for n in range(50)}
    world.store.fails = [403] * 1000
    world.step(11)
    assert len(world.store.asked) == 10
    assert world.learner.errors == {"403": 10}


def test_nothing_is_written_twice_while_the_watch_lags(world: World) -> None:
    world.measured = {BACKUP: bulk(150 * M)}
    for _ in range(5):
        world.learner.step()
        world.clock.now += 1
    assert world.learner.writes == {"create": 1, "status": 1}
    assert world.learner.errors == {}


def test_an_object_left_without_a_status_gets_one(world: World) -> None:
    world.measured = {BACKUP: bulk(150 * M)}
    world.step(1)
    world.store.fails = [-1, 500]
    world.step(1)
    assert world.status() == {}
    world.step(1)
    assert world.status()["class"] == "elephant"


def test_leading_is_looked_at_before_every_write(world: World) -> None:
    world.measured = {("shop", f"Job/{n}"): bulk(50 * M) for n in range(5)}
    world.step(1)
    allowed = [True, True, False]
    world.learner._may_write = lambda: allowed.pop(0) if allowed else False
    world.learner.step()
    assert len(world.store.objects) == 1


def test_system_workloads_and_nonsense_from_a_node_are_passed_over(world: World) -> None:
    world.measured = {
        ("kube-system", "Deployment/dns"): web(), ("shop", "DaemonSet/logs"): web(), ("../x", "Job/y"): web(),
        ("shop", "Job/../../nodes"): web(),
    }  # fmt: skip
    world.step(5)
    assert world.store.asked == []


def test_what_is_remembered_in_memory_stays_bounded() -> None:
    world = World(capacity=10)
    for generation in range(20):
        world.measured = {("shop", f"Job/{generation}-{n}"): bulk(50 * M) for n in range(10)}
        world.step(1)
    assert len(world.learner._profiles) <= 30
