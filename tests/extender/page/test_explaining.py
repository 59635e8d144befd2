# SPDX-License-Identifier: Apache-2.0
"""Explanations on the page: what is shown of them, and what a crowd that asks for them may take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from extender.api.explainer import explained
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.pods import decode_pod
from extender.page.explaining import KEPT_SECONDS, SHARE, SHOWN, WAITING, Explaining, TooManyError, shown
from extender.placement.policy import Policy
from footprint.declared import PlacementMode
from tests.extender.builders import M, annotation, elephant, mouse, pod_info, pod_json
from tests.extender.page.test_app import page
from tests.extender.running import small_state

NODES = 3 * SHOWN


def large() -> ClusterState:
    """A third of the nodes is busy."""
    state = ClusterState(stale_after=180.0)
    for number in range(NODES):
        pods = [elephant(f"e{number}", tx=180 * M)] if number % 3 == 0 else [mouse(f"m{number}")]
        state.put_nodes([NodeInfo(f"node-{number:04}", annotation(*pods))])
        state.put_lease(LeaseInfo(f"node-{number:04}", "1"))
    state.apply()
    return state


def told(name: str = "web") -> dict[str, Any]:
    pod = decode_pod(pod_json(name, annotations={"traffic-footprint.io/class": "mouse"}))
    return explained(pod, None, large(), Policy(placement=PlacementMode.STRICT))


def test_the_best_nodes_are_shown_and_the_first_of_the_rejected() -> None:
    found = shown(told())
    assert (found["passing"], found["rejected"]) == (2 * SHOWN, SHOWN)
    assert sum(found["scores"].values()) == 2 * SHOWN
    rows = found["nodes"]
    assert [row["passes"] for row in rows] == [True] * SHOWN + [False] * SHOWN
    assert [row["score"] for row in rows[:SHOWN]] == sorted((row["score"] for row in rows[:SHOWN]), reverse=True)
    assert "elephants use 90 percent of the link" in rows[-1]["why"]
    assert set(rows[0]["cost"]) == {"waiting", "harm", "slowdown", "room", "total"}
    assert found["demand"] == told()["demand"]["text"]
    json.dumps(found)


def test_it_agrees_with_the_explanation_that_kubectl_shows() -> None:
    whole, few = told(), shown(told())
    for row in few["nodes"]:
        node = whole["nodes"][row["node"]]
        assert (row["score"], row["passes"]) == (node["score"], node["passes"])


def test_the_page_serves_it_for_pods_that_the_extender_knows() -> None:
    state = small_state()
    state.put_pod(pod_info("known"))
    state.apply()
    with page(state) as running:
        status, headers, body = running.get("/page/api/explain?namespace=default&pod=known")
        assert (status, headers["content-type"]) == (200, "application/json")
        assert {row["node"] for row in json.loads(body)["nodes"]} == {"busy", "mice", "free"}
        assert running.get("/page/api/explain?namespace=default&pod=gone")[0] == 404
        for query in ("", "?pod=known", "?namespace=default&pod=", f"?namespace=default&pod={'x' * 254}"):
            assert running.get(f"/page/api/explain{query}")[0] == 400, query
        path = "/page/api/explain?namespace=default&pod=known"
        assert running.get(path, sec_fetch_site="cross-site")[0] == 403
        assert running.ask("POST", path)[0] == 405


class Clock:
    """Seconds that pass by sleeping and by work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work: float) -> None:
        self.now, self.work, self.asked, self.slept = 0.0, work, list[str](), 0.0
        monkeypatch.setattr("extender.page.explaining.asyncio.sleep", self._sleep)

    def __call__(self) -> float:
        return self.now

    async def _sleep(self, seconds: float) -> None:
        self.now, self.slept = self.now + seconds, self.slept + seconds

    def explain(self, _namespace: str, name: str) -> dict[str, Any] | None:
        self.asked.append(name)
        self.now += self.work
        return None


def test_people_who_ask_without_end_take_their_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, before = Clock(monkeypatch, 0.2), list[float]()

    async def ask() -> None:
        one = Explaining(clock.explain, lambda: before.append(clock.now), clock)
        for number in range(20):
            await one.about("default", f"pod-{number}")

    asyncio.run(ask())
    worked = 20 * clock.work
    assert len(before) == 20
    assert worked / clock.now <= SHARE / (1 - SHARE)
    assert clock.slept > 0


def test_the_same_question_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 0.0)

    async def ask() -> None:
        one = Explaining(clock.explain, lambda: None, clock)
        for _ in range(5):
            await one.about("default", "a")
        clock.now += KEPT_SECONDS
        await one.about("default", "a")
        await one.about("default", "b")

    asyncio.run(ask())
    assert clock.asked == ["a", "a", "b"]


def test_no_more_than_a_few_wait() -> None:
    async def ask() -> None:
        one = Explaining(lambda _namespace, _name: None, lambda: None)
        async with one._turn:  # somebody's explanation is being made
            waiting = [asyncio.create_task(one.about("default", f"p{n}")) for n in range(WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(TooManyError):
                await one.about("default", "one more")
        assert await asyncio.gather(*waiting) == [None] * WAITING
        assert await one.about("default", "after them") is None

    asyncio.run(ask())


def test_a_failure_gives_the_place_back() -> None:
    async def ask() -> None:
        def fail(_namespace: str, _name: str) -> None:
            raise ValueError

        one = Explaining(fail, lambda: None)
        for _ in range(WAITING + 2):
            with pytest.raises(ValueError, match=r"^$"):
                await one.about("default", "p")

    asyncio.run(ask())
