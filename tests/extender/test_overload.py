"""More questions than can be decided, answers that would come too late, and memory that grows with neither."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from extender import server as server_module
from extender.connections import PatientProtocol
from extender.demand import Demand, Origin
from extender.server import SWITCH_SECONDS, Server, keep_settled
from extender.settings import Policy
from extender.tables import MAX_TABLES, Tables
from footprint.classes import TrafficClass
from footprint.wishes import Placement
from tests.extender.builders import M, cluster, elephant, mouse, pod_json, view
from tests.extender.serving import served

NAMES = ["busy", "mice", "free"]
BODY = json.dumps({"Pod": pod_json(), "NodeNames": NAMES}).encode()
REQUESTS = "traffic_footprint_extender_requests_total"
PATIENCE_SECONDS = 30.0


def ask(port: int, verb: str) -> object:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("POST", f"/{verb}", BODY)
    answer = connection.getresponse()
    assert answer.status == 200
    told: object = json.loads(answer.read())
    connection.close()
    return told


def counted(port: int, verb: str, result: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    line = f'{REQUESTS}{{result="{result}",verb="{verb}"}} '
    return sum(float(text.removeprefix(line)) for text in page.splitlines() if text.startswith(line))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def unfinished(port: int, verb: str) -> Iterator[socket.socket]:
    """A request under way: its headers are there, its body is not whole."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        head = f"POST /{verb} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        client.sendall(head.encode() + BODY[:1])
        yield client


def under_way(server: Server) -> bool:
    """Some request's headers were read, and it has no answer yet."""
    held = [held for held in server.server_state.connections if isinstance(held, PatientProtocol)]
    return any(one.cycle is not None and not one.cycle.response_complete for one in held)


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_requests_beyond_those_that_can_be_decided_are_answered_as_if_we_were_not_there(verb: str) -> None:
    with served(Policy(max_in_flight=1, deadline=PATIENCE_SECONDS)) as (port, server):
        decided = ask(port, verb)
        with unfinished(port, verb) as first:
            until(lambda: under_way(server))
            shed = ask(port, verb)
            first.sendall(BODY[1:])
            with first.makefile("rb") as answer:
                assert answer.readline().startswith(b"HTTP/1.1 200")
        assert ask(port, verb) == decided, "afterwards there is room again"
        assert counted(port, verb, "shed") == 1
        assert counted(port, verb, "ok") == 3
    if verb == "filter":
        assert decided["NodeNames"] == ["free"]  # type: ignore[index]
        assert shed == {"NodeNames": NAMES, "FailedAndUnresolvableNodes": {}, "Error": ""}
    else:
        assert shed == [{"Host": name, "Score": 5} for name in NAMES] != decided


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_an_answer_past_the_deadline_is_that_of_somebody_who_is_not_there(verb: str) -> None:
    with served(Policy(deadline=1e-9)) as (port, _):
        told = ask(port, verb)
        assert counted(port, verb, "late") == 1
        assert counted(port, verb, "ok") == 0
    if verb == "filter":
        assert told == {"NodeNames": NAMES, "FailedAndUnresolvableNodes": {}, "Error": ""}
    else:
        assert told == [{"Host": name, "Score": 5} for name in NAMES]


@pytest.fixture
def thawed() -> Iterator[None]:
    """What a test freezes does not stay out of the collector's sight for the tests after it."""
    before = sys.getswitchinterval()
    yield
    gc.unfreeze()
    sys.setswitchinterval(before)


class _Ring:
    """Refers to itself: only the garbage collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("thawed")
def test_the_settling_thread_waits_for_the_first_state_then_collects_and_freezes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SETTLE_SECONDS", 0.01)
    ready, asked, over = threading.Event(), threading.Event(), threading.Event()

    def is_ready() -> bool:
        asked.set()
        return ready.is_set()

    ring = weakref.ref(_Ring())
    gc.disable()  # nobody else collects
    thread = threading.Thread(target=keep_settled, args=(over, is_ready))
    thread.start()
    try:
        until(asked.is_set)
        assert ring() is not None
        ready.set()
        until(lambda: ring() is None)
        until(lambda: gc.get_freeze_count() > 1000)
    finally:
        gc.enable()
        over.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)


@pytest.mark.usefixtures("thawed")
def test_a_served_extender_settles_and_its_thread_ends_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = threading.Event()
    monkeypatch.setattr(server_module, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(server_module, "settle", settled.set)
    with served() as (port, _):
        until(settled.is_set)
        assert counted(port, "filter", "ok") == 0
    until(lambda: all(thread.name != "settle" for thread in threading.enumerate()))


def test_tables_keep_no_more_than_so_many_kinds_of_demand_and_forget_nodes_that_are_gone() -> None:
    tables, names = Tables(), [f"n{number}" for number in range(50)]
    snapshot = cluster(*(view(name, elephant("e", tx=90 * M), mouse("m")) for name in names))
    for rate in range(1, 4 * MAX_TABLES):
        for placement in Placement:
            demand = Demand(TrafficClass.ELEPHANT, rate * M, 0.0, 0.0, Origin.DECLARED)
            tables.filter(names, demand, placement, snapshot, float("inf"))
            tables.prioritize(names, demand, snapshot, float("inf"), f"pod-{rate}")
    assert len(tables._tables) == MAX_TABLES
    for table in tables._tables.values():
        assert len(table.reasons) == len(table.costs) == len(names) + 1
        assert len(table.distinct) <= len(names)
    assert len(tables._places._known) <= 2, "of questions, the last one and the one that it leads to"
    fewer = cluster(view("n0"))
    tables.filter(["n0"], Demand(TrafficClass.ELEPHANT, 1 * M), Placement.STRICT, fewer, float("inf"))
    assert len(tables._tables) == 1
    assert len(tables._places.of) == 1
