# SPDX-License-Identifier: Apache-2.0
"""What the reflectors say → what workers and rules are told; workers, commands and time are stand-ins."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from lab.errors import LabError
from lab.network.services import ClusterService
from lab.nodes import __main__ as program
from lab.nodes import services
from lab.nodes.plan import PodPlan, plan_of
from lab.nodes.pods import PodDispatcher
from lab.nodes.runtime import AddressPool
from lab.nodes.worker import Order, PodWorker

PLAN = plan_of({
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1"},
    "spec": {"nodeName": "node1", "containers": [{"name": "main", "command": ["run"]}]},
})  # fmt: skip


class RecordingWorker:
    """Stands for a PodWorker."""

    def __init__(self, plan: PodPlan) -> None:
        self.plan = plan
        self.told: list[tuple[Order, float]] = []

    def start(self) -> None:
        self.told.append((Order.RUN, 0.0))

    def tell(self, order: Order, grace: float = 0.0) -> None:
        self.told.append((order, grace))

    def join(self, timeout: float) -> bool:
        return timeout >= 0


class Workers:
    def __init__(self) -> None:
        self.made: list[RecordingWorker] = []
        self.sink = PodDispatcher(self.make)

    def make(self, plan: PodPlan) -> PodWorker:
        self.made.append(RecordingWorker(plan))
        return cast(PodWorker, self.made[-1])


def test_a_pod_gets_one_worker_however_often_it_is_seen() -> None:
    workers = Workers()
    workers.sink.replace([PLAN])
    workers.sink.upsert(PLAN)
    workers.sink.replace([PLAN])
    assert len(workers.made) == 1


def test_a_deletion_is_passed_on_with_its_grace() -> None:
    workers = Workers()
    workers.sink.upsert(PLAN)
    workers.sink.upsert(replace(PLAN, grace=3.0))
    workers.sink.delete(PLAN)
    assert workers.made[0].told == [(Order.RUN, 0.0), (Order.DELETE, 3.0), (Order.ABANDON, 0.0)]


def test_a_pod_missing_from_a_new_list_is_abandoned() -> None:
    workers = Workers()
    workers.sink.upsert(PLAN)
    workers.sink.replace([])
    assert workers.made[0].told[-1] == (Order.ABANDON, 0.0)


def test_a_namesake_is_another_pod() -> None:
    workers = Workers()
    workers.sink.upsert(PLAN)
    workers.sink.upsert(replace(PLAN, uid="u-2"))
    assert [worker.plan.uid for worker in workers.made] == ["u-1", "u-2"]


def test_a_pod_that_ended_before_is_not_run_again_but_its_deletion_is_confirmed() -> None:
    workers = Workers()
    workers.sink.upsert(replace(PLAN, ended=True))
    assert workers.made == []
    workers.sink.upsert(replace(PLAN, ended=True, grace=0.0))
    assert len(workers.made) == 1


def test_shutting_down_tells_everyone() -> None:
    workers = Workers()
    workers.sink.replace([PLAN, replace(PLAN, uid="u-2")])
    assert workers.sink.shut_down(1.0)
    assert all(worker.told[-1][0] is Order.SHUT_DOWN for worker in workers.made)


def test_an_address_is_used_again_as_late_as_possible() -> None:
    pool = AddressPool()
    first = pool.take()
    pool.give_back(first)
    others = [pool.take() for _ in range(244)]
    assert first not in others
    assert pool.take() == first
    with pytest.raises(IndexError):
        pool.take()


def test_a_burst_of_changes_is_one_transaction_per_node_and_no_change_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applied: list[tuple[str, str]] = []
    seen = threading.Event()
    refuse = [True]

    def nft(namespace: str, script: str) -> None:
        if refuse and refuse.pop():
            raise LabError("not now")
        applied.append((namespace, script))
        if len(applied) == 2:
            seen.set()

    monkeypatch.setattr("lab.network.commands.nft", nft)
    monkeypatch.setattr(services, "RETRY_SECONDS", 0.0)
    proxy = services.ServiceProxy(["tf-x-a", "tf-x-b"])
    stop = threading.Event()
    for number in range(5):
        proxy.services.upsert(ClusterService(("d", f"s{number}"), (f"10.96.0.{number}",), ()))
    thread = threading.Thread(target=proxy.run, args=(stop,))
    thread.start()
    assert seen.wait(20)  # although the first attempt was refused
    proxy.services.upsert(ClusterService(("d", "s1"), ("10.96.0.1",), ()))
    stop.set()
    proxy.wake()
    thread.join(20)
    assert [namespace for namespace, _ in applied] == ["tf-x-a", "tf-x-b"]


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"name": "a"}]', '[{"name": "a", "index": 1, "x": 2}]'])
def test_a_list_of_nodes_that_is_none_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(text)
    with pytest.raises(LabError, match="list of nodes"):
        program.read_nodes(path)


def test_a_list_of_nodes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    raw: list[dict[str, Any]] = [{"name": "node1", "index": 1, "link": "1G", "cpu": "2", "memory": "1Gi"}]
    path.write_text(json.dumps(raw))
    assert program.read_nodes(path)[0].ips == ("10.10.0.11", "fd00:10::11")
