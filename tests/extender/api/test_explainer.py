# SPDX-License-Identifier: Apache-2.0
"""Explanations beside the event loop, and as they are described."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from extender.api import explainer
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.offline import StateFeed
from extender.placement.explanation import Explanation
from tests.extender.builders import patient, pod_info, pod_json
from tests.extender.client import Client
from tests.extender.running import small_state

PATIENCE_SECONDS = 30.0
NODES = ["busy", "free", "mice"]


@pytest.fixture
def app() -> FastAPI:
    state = small_state()
    state.put_pod(pod_info("known"))
    state.apply()
    return create_app(Service(state, StateFeed(), patient()))


def test_a_bare_manifest_is_asked_about_over_all_nodes(app: FastAPI) -> None:
    told = [
        Client(app).post("/explain", json=question).json()
        for question in (pod_json(), {"Pod": pod_json()}, {"Pod": pod_json(), "NodeNames": NODES})
    ]
    assert told[0] == told[1] == told[2]
    assert list(told[0]["nodes"]) == NODES


@pytest.mark.parametrize("question", [[], {}, {"kind": "Deployment", "metadata": {"name": "d"}}])
def test_a_question_without_a_pod_is_refused_in_words(app: FastAPI, question: Any) -> None:
    answer = Client(app).post("/explain", json=question)
    assert answer.status_code == 400
    assert "send a Pod" in answer.json()["Error"]


class Held:
    """Explanations that stop half-way until ``release``; ``most`` were under way at once, in ``threads``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.release = threading.Event(), threading.Event()
        self.most, self.threads = 0, set[int]()
        self._under_way, self._plain = 0, explainer.explained
        monkeypatch.setattr(explainer, "explained", self._explained)

    def _explained(self, *arguments: Any) -> dict[str, Any]:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        self.threads.add(threading.get_ident())
        self.started.set()
        assert self.release.wait(PATIENCE_SECONDS)
        self._under_way -= 1
        return self._plain(*arguments)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


async def asked_at_once(app: FastAPI, held: Held) -> tuple[dict[str, Any], list[httpx.Response]]:
    """A filter's answer while more explanations than may wait are under way; and what those got."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://extender") as client:
        known = [client.get("/explain?namespace=default&pod=known") for _ in range(2)]
        posted = [client.post("/explain", json=pod_json()) for _ in range(explainer.MAX_PENDING)]
        waiting = [asyncio.create_task(request) for request in (*known, *posted)]
        assert await asyncio.to_thread(held.started.wait, PATIENCE_SECONDS)
        filtered = await client.post("/filter", json={"Pod": pod_json(), "NodeNames": NODES})
        held.release.set()
        return filtered.json(), await asyncio.gather(*waiting)


def test_explanations_keep_nobody_waiting_but_each_other(app: FastAPI, held: Held) -> None:
    filtered, answers = asyncio.run(asked_at_once(app, held))
    assert filtered["NodeNames"] == ["free"], "answered while an explanation was under way"
    assert threading.get_ident() not in held.threads
    assert held.most == 1
    assert sorted(answer.status_code for answer in answers) == [200] * explainer.MAX_PENDING + [503] * 2
    told = next(answer for answer in answers if answer.status_code == 503)
    assert told.json() == {"Error": "8 explanations are pending already; try again in a moment"}
    assert Client(app).post("/explain", json=pod_json()).status_code == 200, "afterwards there is room again"


def test_a_pod_counts_where_the_last_answer_sent_it_but_not_against_itself(app: FastAPI) -> None:
    client = Client(app)
    assert client.post("/filter", json={"Pod": pod_json(), "NodeNames": NODES}).json()["NodeNames"] == ["free"]
    other, same = (client.post("/explain", json=pod_json(uid=uid)).json() for uid in ("u-2", "u-1"))
    assert other["nodes"]["free"]["predicted_pods"] == 1
    assert same["nodes"]["free"]["predicted_pods"] == 0


ANNOTATIONS: list[dict[str, str]] = [
    {}, {"class": "mouse"}, {"class": "elephant"}, {"class": "whale"}, {"placement": "strict"},
    {"placement": "ignore"},
]  # fmt: skip


@pytest.mark.parametrize("declared", ANNOTATIONS, ids=str)
@pytest.mark.parametrize("owner", [("Job", "bulk"), ("DaemonSet", "bulk"), ("Job", "never-seen"), None], ids=str)
def test_every_byte_of_an_explanation_is_described(
    app: FastAPI, declared: dict[str, str], owner: tuple[str, str] | None
) -> None:
    pod = pod_json(owner=owner, annotations={f"traffic-footprint.io/{key}": v for key, v in declared.items()})
    answer = Client(app).post("/explain", json={"Pod": pod, "NodeNames": [*NODES, "never-seen"]})
    described = Explanation.model_validate_json(answer.content, strict=True)
    assert described.model_dump(mode="json", by_alias=True) == json.loads(answer.content)
