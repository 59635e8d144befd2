# SPDX-License-Identifier: Apache-2.0
"""A reflector against an API server that misbehaves: scripted responses over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from footprint.cluster import reflector as module
from footprint.cluster.reflector import Reflector
from tests.footprint.cluster.scripted_api import Answer, Script, items, serving, until

PATH = "/api/v1/things"
GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version: 1 (9)"}}


class Names:
    """A sink that keeps names, and tells when they are as expected."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._changed = threading.Condition()

    def replace(self, items: Sequence[str]) -> None:
        self._keep(set(items))

    def upsert(self, item: str) -> None:
        self._keep(self.names | {item})

    def delete(self, item: str) -> None:
        self._keep(self.names - {item})

    def _keep(self, names: set[str]) -> None:
        with self._changed:
            self.names = names
            self._changed.notify_all()

    def wait_for(self, *names: str) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.names == set(names), 30)


class PagedNames(Names):
    """Takes names in page by page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[set[str]] = []
        """All names after each page."""

    def replace_paged(self, pages: Iterable[Sequence[str]]) -> None:
        listed: set[str] = set()
        for page in pages:
            listed |= set(page)
            self._keep(self.names | listed)
            self.seen.append(set(self.names))
        self._keep(listed)


def thing(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}}


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": thing(name, version)}


@contextmanager
def following(
    script: Script, folder: Path, sink: Names | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[Reflector[str], Names]]:
    sink, stop = sink or Names(), threading.Event()
    with serving(script, folder) as client:
        reflector = Reflector[str](
            client, PATH, decode=lambda raw: str(raw["metadata"]["name"]), sink=sink, clock=clock
        )
        thread = reflector.start(stop)
        try:
            yield reflector, sink
        finally:
            stop.set()
            script.over.set()
            reflector.interrupt()
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The attempts that were waited after, in order; the waits themselves are short."""
    seen: list[int] = []

    def noted(attempt: int) -> float:
        seen.append(attempt)
        return 0.001

    monkeypatch.setattr(module, "backoff", noted)
    return seen


@pytest.mark.parametrize("status", [200, 410], ids=["in the stream", "as the answer"])
def test_a_version_too_old_is_listed_again_at_once_and_counted(
    tmp_path: Path, pauses: list[int], status: int
) -> None:
    gone: Answer = (200, [event("ADDED", "b", "2"), GONE]) if status == 200 else (410, {"message": "too old"})
    lists = [(200, items(thing("a", "1"), version="1")), (200, items(thing("c", "9"), version="9"))]
    watches: list[Answer] = [(200, [event("ADDED", "b", "2")]), gone, (200, [Script.HOLD])]
    script = Script(lists, watches)
    with following(script, tmp_path) as (reflector, sink):
        assert sink.wait_for("c"), "what went away while nobody watched is gone"
        assert until(lambda: reflector.connected)
        assert (reflector.relists, reflector.errors) == (1, 0)
    assert pauses == []
    assert "resourceVersion=9" in script.asked[-1]


def test_a_version_that_is_gone_as_soon_as_it_was_listed_is_not_asked_for_in_a_tight_loop(
    tmp_path: Path, pauses: list[int]
) -> None:
    gone: Answer = (410, {"message": "too old"})
    script = Script([(200, items(thing("a", "1"), version="1"))], [gone, gone, gone, (200, [Script.HOLD])])
    with following(script, tmp_path) as (reflector, _):
        assert until(lambda: reflector.connected)
        assert reflector.relists == 3
    assert pauses == [1, 2, 3]


def test_a_list_whose_version_goes_between_two_pages_begins_anew(tmp_path: Path, pauses: list[int]) -> None:
    pages = [
        (200, items(thing("a", "1"), version="1", more="next")), (410, {"message": "continue token expired"}),
        (200, items(thing("b", "5"), version="5")),
    ]  # fmt: skip
    with following(Script(pages, [(200, [Script.HOLD])]), tmp_path) as (reflector, sink):
        assert sink.wait_for("b")
        assert reflector.relists == 1
    assert pauses == [1]


@pytest.mark.usefixtures("pauses")
def test_a_large_collection_is_taken_in_page_by_page_and_what_went_away_meanwhile_is_dropped_at_the_end(
    tmp_path: Path,
) -> None:
    pages: list[Answer] = [
        (200, items(thing("a", "1"), thing("gone", "1"), version="1")),
        (200, items(thing("a", "1"), version="9", more="next")), (200, items(thing("b", "9"), version="9")),
    ]  # fmt: skip
    sink = PagedNames()
    script = Script(pages, [(200, [GONE]), (200, [Script.HOLD])])
    with following(script, tmp_path, sink) as (reflector, _):
        assert sink.wait_for("a", "b")
        assert until(lambda: reflector.connected)
    assert sink.seen == [{"a", "gone"}, {"a", "gone"}, {"a", "b", "gone"}]
    assert "resourceVersion=9" in script.asked[-1]


@pytest.mark.parametrize("failed", [(503, {"message": "busy"}), (410, {"message": "continue token expired"})])
def test_a_page_that_fails_in_the_middle_leaves_what_was_known_and_everything_is_listed_anew(
    tmp_path: Path, pauses: list[int], failed: Answer
) -> None:
    pages: list[Answer] = [
        (200, items(thing("a", "1"), thing("gone", "1"), version="1")),
        (200, items(thing("b", "9"), version="9", more="next")), failed,
        (200, items(thing("b", "10"), version="10", more="next")), (200, items(thing("c", "10"), version="10")),
    ]  # fmt: skip
    sink = PagedNames()
    script = Script(pages, [(200, [event("ADDED", "a", "2"), GONE]), (200, [Script.HOLD])])
    with following(script, tmp_path, sink) as (reflector, _):
        assert sink.wait_for("b", "c")
        assert until(lambda: reflector.connected)
    known = {"a", "b", "gone"}
    assert sink.seen == [{"a", "gone"}, known, known, {*known, "c"}], "nothing is dropped before the end"
    assert pauses == [1]
    assert "resourceVersion=10" in script.asked[-1]


def test_watches_that_end_as_soon_as_they_are_opened_are_opened_less_and_less_often(
    tmp_path: Path, pauses: list[int]
) -> None:
    script = Script([(200, items(version="1"))], [(200, [])] * 3 + [(200, [Script.HOLD])])
    with following(script, tmp_path) as (reflector, _):
        assert until(lambda: reflector.connects == 4)
        assert (reflector.relists, reflector.errors) == (0, 0)
    assert pauses == [1, 2, 3]


def test_a_watch_that_showed_something_ends_the_count_of_failures(tmp_path: Path, pauses: list[int]) -> None:
    away: Answer = (503, {"message": "starting"})
    script = Script(
        [(200, items(version="1"))],
        [away, away, (200, [event("ADDED", "a", "2")]), away, (200, [Script.HOLD])],
    )
    with following(script, tmp_path) as (reflector, sink):
        assert sink.wait_for("a")
        assert until(lambda: reflector.connected)
        assert reflector.errors == 3
        assert reflector.connects == 2
    assert pauses == [1, 2, 1], "an outage of last week does not lengthen today's"


ERROR = {"type": "ERROR", "object": {"code": 500, "message": "etcdserver: mvcc: internal error"}}


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    "refusal",
    [
        (504, {"message": "timed out"}),
        (200, [ERROR]),
        (200, [event("ADDED", "b", "2"), ERROR]),
        (200, ["no event"]),
    ],
    ids=["status", "event", "event after others", "nonsense"],
)
def test_a_version_that_is_refused_again_and_again_is_given_up_and_everything_listed_anew(
    tmp_path: Path, refusal: Answer
) -> None:
    lists: list[Answer] = [(200, items(thing("a", "1"), version="1")), (200, items(thing("c", "9"), version="9"))]
    script = Script(lists, [refusal] * (module.RELIST_AFTER + 1) + [(200, [Script.HOLD])])
    with following(script, tmp_path) as (reflector, sink):
        assert sink.wait_for("c")
        assert until(lambda: reflector.connected)
        assert reflector.relists == 1
    assert "resourceVersion=9" in script.asked[-1]


def test_a_server_that_cannot_be_reached_is_asked_for_the_same_version_for_as_long_as_that_lasts(
    tmp_path: Path, pauses: list[int]
) -> None:
    script = Script(
        [(200, items(thing("a", "1"), version="1"))], [(200, [Script.BREAK])] * 6 + [(200, [Script.HOLD])]
    )
    with following(script, tmp_path) as (reflector, _):
        assert until(lambda: reflector.connects == 7)
        assert reflector.relists == 0
    assert len(pauses) == 6
    assert sum("watch=1" not in asked for asked in script.asked) == 1


def test_the_age_of_what_is_known_grows_until_the_server_says_something(tmp_path: Path) -> None:
    now = [100.0]
    script = Script([(200, items(version="1"))], [(200, [Script.HOLD])])
    with following(script, tmp_path, clock=lambda: now[0]) as (reflector, _):
        assert until(lambda: reflector.connected)
        assert reflector.age == 0.0
        now[0] = 700.0
        assert reflector.age == 600.0
    bookmark = {"type": "BOOKMARK", "object": thing("", "5")}
    now[0] = 100.0
    script = Script([(200, items(version="1"))], [(200, [Script.WAIT, bookmark, Script.HOLD])])
    with following(script, tmp_path, clock=lambda: now[0]) as (reflector, _):
        assert until(lambda: reflector.connected)
        now[0] = 700.0
        script.go_on.set()
        assert until(lambda: reflector.age == 0.0)


def test_a_watch_that_shows_nothing_for_long_is_given_up_and_everything_listed_anew(
    tmp_path: Path, pauses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.2)
    lists: list[Answer] = [(200, items(thing("a", "9"), version="9")), (200, items(thing("b", "3"), version="3"))]
    script = Script(lists, [(200, [event("ADDED", "c", "10"), Script.HOLD])])
    with following(script, tmp_path) as (reflector, sink):
        assert sink.wait_for("b", "c"), "what etcd was set back to is what is known"
        assert reflector.errors >= 1
        assert reflector.relists == 0
    assert set(pauses) == {1}


@pytest.mark.parametrize("odd", ["no event", 7, {"type": "ADDED", "object": []}, {"type": "ADDED", "object": 7}])
@pytest.mark.usefixtures("pauses")
def test_an_answer_of_no_known_shape_is_an_error_and_the_collection_is_followed_on(
    tmp_path: Path, odd: Any
) -> None:
    lists: list[Answer] = [
        (200, "no list"), (200, {"items": [], "metadata": [1]}), (200, items(thing("a", "1"), version="1")),
    ]  # fmt: skip
    with following(Script(lists, [(200, [odd]), (200, [Script.HOLD])]), tmp_path) as (reflector, sink):
        assert sink.wait_for("a")
        assert until(lambda: reflector.connects == 2 and reflector.connected)
        assert reflector.errors + reflector.undecodable >= 3
