# SPDX-License-Identifier: Apache-2.0
"""More questions than can be decided, answers that would come too late, and memory that grows with neither."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.types import Receive, Scope

from extender.api import idle_time
from extender.api.body import BodyReader
from extender.api.metrics import Metrics
from extender.api.protocol import MAX_CANDIDATES
from extender.model.demand import Demand, Origin
from extender.model.snapshot import Snapshot
from extender.placement.policy import Policy
from extender.placement.tables import MAX_TABLES, FilterAnswer, Tables
from extender.serving.http_protocol import BoundedHttpProtocol
from extender.serving.limits import Limits
from extender.serving.server import Server
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode
from tests.extender.builders import M, cluster, elephant, mouse, pod_json, view
from tests.extender.running import served, until

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


@contextmanager
def unfinished(port: int, verb: str) -> Iterator[socket.socket]:
    """A request under way: its headers are there, its body is not whole."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        head = f"POST /{verb} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        client.sendall(head.encode() + BODY[:1])
        yield client


def under_way(server: Server) -> bool:
    """Some request's headers were read, and it has no answer yet."""
    held = [held for held in server.server_state.connections if isinstance(held, BoundedHttpProtocol)]
    return any(one.cycle is not None and not one.cycle.response_complete for one in held)


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_requests_beyond_those_that_can_be_decided_fail_open(verb: str) -> None:
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


@contextmanager
def standing_still(server: Server) -> Iterator[None]:
    """What is sent meanwhile over the open connections, the server reads at once afterwards."""
    over, still = threading.Event(), threading.Event()
    loop = next(held.loop for held in server.server_state.connections if isinstance(held, BoundedHttpProtocol))

    def stand_still() -> None:
        still.set()
        over.wait(PATIENCE_SECONDS)

    loop.call_soon_threadsafe(stand_still)
    assert still.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        over.set()


def crowd(port: int, count: int) -> list[http.client.HTTPConnection]:
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS) for _ in range(count)]
    for connection in connections:
        connection.connect()
    return connections


def answers_of(connections: list[http.client.HTTPConnection]) -> list[object]:
    answers: list[object] = []
    for connection in connections:
        answers.append(json.loads(connection.getresponse().read()))
        connection.close()
    return answers


def test_of_a_crowd_that_asks_at_once_only_so_many_are_decided_as_may_be_under_way() -> None:
    with served(Policy(max_in_flight=4, deadline=PATIENCE_SECONDS)) as (port, server):
        clients = crowd(port, 12)
        until(lambda: len(server.server_state.connections) == 12)
        with standing_still(server):
            for client in clients:
                client.request("POST", "/filter", BODY)
        passed = [answer["NodeNames"] for answer in answers_of(clients)]  # type: ignore[index]
        assert (passed.count(["free"]), passed.count(NAMES)) == (4, 8)
        assert counted(port, "filter", "shed") == 8


def test_a_crowd_that_asks_for_metrics_costs_one_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []
    plainly = Metrics.render

    def counted_rendering(metrics: Metrics) -> bytes:
        rendered.append(1)
        return plainly(metrics)

    monkeypatch.setattr(Metrics, "render", counted_rendering)
    with served() as (port, server):
        clients = crowd(port, 12)
        until(lambda: len(server.server_state.connections) == 12)
        with standing_still(server):
            for client in clients:
                client.request("GET", "/metrics")
        for client in clients:
            assert client.getresponse().read().startswith(b"# HELP")
            client.close()
    assert len(rendered) <= 2


def test_who_waited_behind_a_crowd_is_answered_late_not_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*_: object, **__: object) -> FilterAnswer:
        time.sleep(0.1)
        return FilterAnswer(b"{}")

    monkeypatch.setattr(Tables, "filter", slowly)
    with served(Policy(deadline=0.25)) as (port, server):
        clients = crowd(port, 8)
        until(lambda: len(server.server_state.connections) == 8)
        with standing_still(server):
            for client in clients:
                client.request("POST", "/filter", BODY)
        answers_of(clients)
        late = counted(port, "filter", "late")
        assert late >= 5, "their time had run out before anybody looked at them"
        assert counted(port, "filter", "ok") == 8 - late


def test_unfinished_bodies_share_a_byte_budget() -> None:
    limits = Limits(join=0)  # else a body in quick pieces is whole before it counts as unfinished
    with (
        served(bodies=BodyReader(held=len(BODY)), limits=limits) as (port, server),
        unfinished(port, "filter") as first,
    ):
        until(lambda: under_way(server))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request("POST", "/filter", iter([BODY[:5], BODY[5:]]), encode_chunked=True)
        assert connection.getresponse().status == 503
        connection.close()
        first.sendall(BODY[1:])
        with first.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 200")
        assert ask(port, "filter"), "afterwards there is room again"
        assert counted(port, "filter", "too-many") == 1


class CountingReader(BodyReader):
    """Counts the bodies that the application had to wait for."""

    waited = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        self.waited += 1
        return await super().read(scope, receive)


@pytest.mark.parametrize(
    ("limits", "waited"),
    [
        (Limits(join_seconds=PATIENCE_SECONDS), 0),
        (Limits(join_seconds=0), 1),
        (Limits(join_seconds=PATIENCE_SECONDS, join=1), 1),
        (Limits(join_seconds=PATIENCE_SECONDS, join_together=1), 1),
    ],
    ids=["joined", "out of time", "too long", "too much together"],
)
def test_a_body_in_pieces_is_joined_before_the_application_begins(limits: Limits, waited: int) -> None:
    reader = CountingReader()
    with (
        served(bodies=reader, limits=limits) as (port, server),
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client,
    ):
        client.sendall(b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:9])
        until(lambda: under_way(server))
        until(lambda: reader.waited == waited)
        client.sendall(BODY[9:])
        with client.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 200")
        assert (reader.waited, server.context.joining) == (waited, 0)


def test_a_response_that_nobody_reads_is_given_up() -> None:
    names = [f"node-{number:0240d}" for number in range(MAX_CANDIDATES)]
    body = json.dumps({"Pod": pod_json(), "NodeNames": names}).encode()
    with served(limits=Limits(unread_seconds=0.2)) as (port, server), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_SECONDS)
        client.connect(("127.0.0.1", port))
        head = f"POST /prioritize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        until(lambda: under_way(server))
        until(lambda: not server.server_state.connections)


def test_an_answer_before_its_body_ends_the_connection() -> None:
    with served() as (port, _), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.read().endswith(b"ok"), "and nothing after it"


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_a_response_past_the_deadline_fails_open(verb: str) -> None:
    with served(Policy(deadline=1e-9)) as (port, _):
        told = ask(port, verb)
        assert counted(port, verb, "late") == 1
        assert counted(port, verb, "ok") == 0
    if verb == "filter":
        assert told == {"NodeNames": NAMES, "FailedAndUnresolvableNodes": {}, "Error": ""}
    else:
        assert told == [{"Host": name, "Score": 5} for name in NAMES]


def test_tables_keep_no_more_than_so_many_kinds_of_demand_and_forget_nodes_that_are_gone() -> None:
    tables, names = Tables(), [f"n{number}" for number in range(50)]
    snapshot = cluster(*(view(name, elephant("e", tx=90 * M), mouse("m")) for name in names))
    for rate in range(1, 4 * MAX_TABLES):
        for placement in PlacementMode:
            demand = Demand(TrafficClass.ELEPHANT, rate * M, 0.0, 0.0, Origin.DECLARED)
            tables.filter(names, demand, placement, snapshot, float("inf"))
            tables.prioritize(names, demand, snapshot, float("inf"), f"pod-{rate}")
    assert len(tables._tables) == MAX_TABLES
    for table in tables._tables.values():
        assert len(table.reasons) == len(table.costs) == len(names) + 1
        assert len(table.distinct) <= len(names)
    assert len(tables._places._known) <= 2, "of questions, the last one and the one that it leads to"
    fewer = cluster(view("n0"))
    tables.filter(["n0"], Demand(TrafficClass.ELEPHANT, 1 * M), PlacementMode.STRICT, fewer, float("inf"))
    assert len(tables._tables) == 1
    assert len(tables._places.of) == 1


def test_what_the_cluster_changes_is_followed_while_questions_are_expected_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[float] = []
    plainly, others = Tables.work_ahead, set(threading.enumerate())

    def counted_look(tables: Tables, snapshot: Snapshot, deadline: float) -> bool:
        if threading.current_thread() not in others:  # which serve other tests' applications
            looks.append(time.monotonic())
        return plainly(tables, snapshot, deadline)

    monkeypatch.setattr(Tables, "work_ahead", counted_look)
    monkeypatch.setattr(idle_time, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(idle_time, "EXPECTED_SECONDS", 1.0)
    with served() as (port, _):
        began = time.monotonic()
        ask(port, "filter")
        until(lambda: len(looks) >= 5)
        until(lambda: time.monotonic() > max(looks) + 0.5)
    assert max(looks) >= began + 0.5, "on and on, with nobody asking"
