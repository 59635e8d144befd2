# SPDX-License-Identifier: Apache-2.0
"""Who ends for good takes its program along; who is replaced leaves it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from footprint.cluster.client import ApiError
from nodeagent import run as program
from nodeagent.publishing import handover as handover_module
from nodeagent.publishing.handover import LIMIT, SETTLED, Handover, is_followed
from nodeagent.settings import parse
from nodeagent.sources.ebpf.source import EbpfSource

API: Any = object()


class Server:
    """Answers by the time that has passed: 200, a status, or 0 where nobody answers. Each answer takes ``slow``
    seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[float, int], slow: float = 0.0) -> None:
        self.now, self.asked, self._answers, self._slow = 0.0, 0, answers, slow
        monkeypatch.setattr(program, "request", self.request)

    def request(self, _api: Any, method: str, path: str, **_: Any) -> dict[str, Any]:
        assert (method, path) == ("GET", "/api/v1/nodes/n1")
        self.asked += 1
        status = [status for since, status in self._answers.items() if since <= self.now][-1]
        self.now += self._slow
        if status != 200:
            raise ApiError(status, f"status {status}")
        return {}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def followed(self) -> bool:
        return is_followed(self.read, clock=lambda: self.now, sleep=self.sleep)

    def read(self) -> object:
        return self.request(API, "GET", "/api/v1/nodes/n1")


def test_who_may_still_read_its_node_after_a_while_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, {0.0: 200})
    assert server.followed()
    assert server.now >= SETTLED


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("since", [0.0, 1.0, SETTLED])
def test_whose_rights_are_taken_away_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, status: int, since: float
) -> None:
    server = Server(monkeypatch, {0.0: 200, since: status})
    assert not server.followed()
    assert server.now == since  # and does not wait any longer


@pytest.mark.parametrize("status", [0, 500, 503])
def test_no_answer_is_no_successor(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    assert not Server(monkeypatch, {0.0: 200, 1.0: status}).followed()


def test_a_server_that_was_away_for_a_moment_may_still_say_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Server(monkeypatch, {0.0: 0, 1.0: 200}).followed()


@pytest.mark.parametrize("slow", [0.3, 0.9, 2.5, 4.0])
def test_a_busy_node_is_given_the_time_to_ask(monkeypatch: pytest.MonkeyPatch, slow: float) -> None:
    server = Server(monkeypatch, {0.0: 200}, slow)
    assert server.followed()
    assert SETTLED + slow <= server.now <= LIMIT


@pytest.mark.parametrize("status", [0, 500, 503])
def test_a_failure_at_the_moment_that_counts_is_asked_about_again(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    server = Server(monkeypatch, {0.0: 200, SETTLED - 0.1: status, SETTLED + 2: 200})
    assert server.followed()
    assert SETTLED + 2 <= server.now < LIMIT


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_late_refusal_is_no_successor(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    assert not Server(monkeypatch, {0.0: 0, SETTLED + 2: status}).followed()


class Pinned(EbpfSource):
    """As if it had been opened."""

    pinned = True


@pytest.mark.parametrize(
    ("flags", "source", "kept"),
    [
        ([], Pinned(), True),
        (["--no-keep-program"], Pinned(), False),
        (["--kubeconfig", "/admin"], Pinned(), False),
        ([], EbpfSource(), False),
    ],
    ids=["in a DaemonSet", "when told not to", "by hand", "without pins"],
)
def test_the_program_stays_only_where_a_successor_will_find_it(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], source: EbpfSource, kept: bool
) -> None:
    server = Server(monkeypatch, {0.0: 200})
    monkeypatch.setattr(
        program, "is_followed", lambda read: is_followed(read, clock=lambda: server.now, sleep=server.sleep)
    )
    ending = threading.Event()
    ending.set()
    program._leave_program(
        source, program._expect_handover(source, parse(["--node-name", "n1", *flags]), API, ending)
    )
    assert source.keep is kept
    assert bool(server.asked) is kept


def test_the_question_is_asked_from_the_order_to_end_on_and_not_before() -> None:
    ending, asked = threading.Event(), threading.Event()

    def ask() -> bool:
        asked.set()
        return True

    handover = Handover(ending, ask)
    assert not asked.wait(0.05)
    ending.set()
    assert handover.followed()
    assert asked.is_set()


def test_an_answer_that_does_not_come_in_time_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_module, "LIMIT", 0.05)
    ending, never = threading.Event(), threading.Event()
    ending.set()
    assert not Handover(ending, lambda: never.wait(30)).followed()
    never.set()
