# SPDX-License-Identifier: Apache-2.0
"""The page as served: what it answers, and what it does about people who mean no good."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.page import board as board_module
from extender.page.app import read_files
from extender.page.stream import MAX_READERS, Cursor
from extender.serving.limits import Limits, PortLimits
from extender.serving.server import Server, listen
from tests.extender.builders import annotation, mouse, pod_json
from tests.extender.running import served, until

NAMES = ["busy", "mice", "free"]
PATIENT = Limits(metrics_port=PortLimits(connections=1100, per_address=1100))


class Running:
    def __init__(self, port: int, page: int, server: Server) -> None:
        self.port, self.page, self.server = port, page, server

    def get(self, path: str, port: int | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("GET", path, port, None, **headers)

    def ask(
        self, method: str, path: str, port: int | None = None, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.page, timeout=30)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def decide(self, uid: str = "u-1") -> None:
        question = json.dumps({"Pod": pod_json(uid=uid, owner=("Job", "web"), annotations={
            "traffic-footprint.io/class": "mouse"}), "NodeNames": NAMES}).encode()  # fmt: skip
        for verb in ("/filter", "/prioritize"):
            assert self.ask("POST", verb, self.port, question)[0] == 200

    def metric(self, name: str) -> float:
        text = self.get("/metrics")[2].decode()
        found = re.search(rf"^traffic_footprint_extender_page_{re.escape(name)} (\S+)$", text, re.M)
        assert found, name
        return float(found[1])


@contextmanager
def page(
    state: ClusterState | None = None, on: bool = True, send: int | None = None, **options: Any
) -> Iterator[Running]:  # fmt: skip
    """``send``: bytes that the kernel holds for a reader, where not megabytes."""
    with (
        listen("127.0.0.1", 0) as observers,
        served(state=state, page=on, metrics_port=observers, **options) as (port, server),
    ):
        if send is not None:
            observers.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send)
        yield Running(port, observers.getsockname()[1], server)


class Events:
    """One reader of the stream."""

    def __init__(self, running: Running, cursor: str = "", receive: int | None = None) -> None:
        self.socket = socket.socket()
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", running.page))
        self.socket.sendall(f"GET /page/api/stream?cursor={cursor} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.text = b""

    def until(self, wanted: bytes) -> bytes:
        while wanted not in self.text:
            part = self.socket.recv(65536)
            assert part, self.text[-300:]
            self.text += part
        return self.text

    def close(self) -> None:
        self.socket.close()


def test_the_page_its_files_and_its_figures_are_there_under_a_strict_policy() -> None:
    with page() as running:
        assert running.get("/")[1]["location"] == "/page/"
        kinds = {
            "": "text/html", "main.js": "text/javascript", "vendor/uPlot.js": "text/javascript",
            "page.css": "text/css", "icon.svg": "image/svg+xml",
            **dict.fromkeys(("nodes", "node?name=busy", "workloads", "decisions", "gains"), "application/json"),
        }  # fmt: skip
        for name, kind in kinds.items():
            path = f"api/{name}" if kind == "application/json" else name
            status, headers, body = running.get(f"/page/{path}")
            assert (path, status, headers["content-type"].split(";")[0], bool(body)) == (path, 200, kind, True)
            policy = headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
        tag = running.get("/page/main.js")[1]["etag"]
        assert running.get("/page/main.js", if_none_match=tag)[0] == 304
        assert json.loads(running.get("/page/api/node?name=busy")[2])["pods"][0]["class"] == "elephant"


def test_the_files_hold_no_inline_script_no_style_and_no_address_elsewhere() -> None:
    """What the policy would refuse."""
    for name, file in read_files().items():
        text = file.body.decode()
        if name.endswith((".js", ".html", ".css")) and not name.startswith("vendor/"):
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name
        if name.endswith(".html"):
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), name


def test_it_can_only_be_read_and_only_on_the_observers_port() -> None:
    with page() as running:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert running.ask(method, "/page/api/nodes")[0] == 405
        assert running.get("/page/", running.port)[0] == 404
        for path in ("nothing", "../metrics", "api/", "web/main.js", "%2e%2e/app.py", "vendor/../../app.py"):
            assert running.get(f"/page/{path}")[0] == 404, path
        assert running.get("/page/api/node?name=" + "x" * 5000)[0] == 404
        assert running.get("/page/api/nodes", sec_fetch_site="cross-site")[0] == 403
        assert running.get("/page/api/stream", sec_fetch_site="same-site")[0] == 403
        assert running.get("/page/api/nodes", sec_fetch_site="same-origin")[0] == 200
        assert running.get("/metrics")[0] == 200


def test_switched_off_nothing_of_it_is_there() -> None:
    with page(on=False) as running:
        assert [running.get(path)[0] for path in ("/page/", "/", "/page/api/nodes")] == [404, 404, 404]
        assert b"page_readers" not in running.get("/metrics")[2]


def test_a_reader_sees_a_decision_and_a_change_as_they_happen() -> None:
    state = ClusterState(stale_after=180.0)
    for name in NAMES:
        state.put_nodes([NodeInfo(name, annotation())])
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    with page(state=state) as running:
        cursor = running.get("/page/api/nodes")[1]["x-cursor"]
        events = Events(running, f"{cursor}-0")
        events.until(b"retry: 2000")
        until(lambda: running.metric("readers") == 1)
        running.decide()
        told = events.until(b'"workload":"Job/web"')
        assert b"event: decisions" in told
        state.put_nodes([NodeInfo("free", annotation(mouse("m")))])
        state.apply()
        assert b"event: nodes" in events.until(b'["free"')
        last = re.findall(rb"id: (\S+)", events.text)[-1].decode()
        events.close()
        until(lambda: running.metric("readers") == 0)
        again = Events(running, last)
        state.put_nodes([NodeInfo("mice", annotation(mouse("m")))])
        state.apply()
        told = again.until(b'["mice"')
        assert b'["free"' not in told
        assert b"event: reload" not in told
        again.close()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("", 0),
        ("boot-7-3", 7),
        ("other-7-3", 0),
        ("boot-7", 0),
        ("boot--1-3", 0),
        ("boot-٣-3", 0),
        ("boot-" + "9" * 99 + "-0", 0),
    ],
)
def test_a_cursor_of_another_process_or_of_nobody_begins_anew(text: str, version: int) -> None:
    assert Cursor(text, "boot").version == version


def test_a_thousand_readers_leave_placement_and_metrics_as_they_are() -> None:
    with page(limits=PATIENT) as running, ExitStack() as stack:
        crowd = [Events(running) for _ in range(1000)]
        for one in crowd:
            stack.callback(one.close)
        until(lambda: running.metric('dropped_readers_total{reason="too-many"}') == 1000 - MAX_READERS)
        assert running.metric("readers") == MAX_READERS
        running.decide()
        assert sum(b" 503 " in one.socket.recv(4096).split(b"\r\n")[0] for one in crowd) == 1000 - MAX_READERS
    with page() as running:  # as shipped, one address does not even get so many connections
        crowd = [Events(running) for _ in range(200)]
        running.decide()
        assert running.get("/healthz")[0] == 200
        for one in crowd:
            one.close()


def test_a_reader_that_never_reads_is_cut_and_counted_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board_module, "FRAME_SECONDS", 0.05)
    monkeypatch.setattr(board_module, "DECISION_SECONDS", 0.05)
    state = ClusterState(stale_after=1e6)
    names = [f"node-{number:04}-{'x' * 200}" for number in range(900)]
    for name in names:
        state.put_nodes([NodeInfo(name, annotation())])
        state.put_lease(LeaseInfo(name, "1"))
    while state.apply():
        pass
    with page(state=state, send=4096, limits=Limits(unread_seconds=1.0)) as running:
        lazy, busy = Events(running, receive=4096), Events(running)
        busy.until(b"retry:")
        turn, text = 0, [annotation(), annotation(mouse("m"))]

        def cut() -> bool:
            nonlocal turn
            turn += 1
            state.put_nodes([NodeInfo(name, text[turn % 2]) for name in names])
            while state.apply():
                pass
            busy.socket.setblocking(False)
            with suppress(BlockingIOError):
                busy.text = busy.socket.recv(1 << 22)
            return running.metric('dropped_readers_total{reason="slow"}') == 1

        until(cut)
        assert running.metric("readers") == 1
        running.ask("POST", "/filter", running.port, json.dumps({"Pod": pod_json(), "NodeNames": names}).encode())
        lazy.close()
        busy.close()


def test_the_end_of_the_process_ends_streams_and_waits_for_none() -> None:
    with page(drain=30.0) as running:
        events = Events(running)
        events.until(b"retry:")
        running.server.begin_drain()
        events.until(b"0\r\n\r\n")
        assert running.get("/page/api/stream")[0] == 503
        events.close()


def test_huge_and_hostile_names_arrive_as_data() -> None:
    state = ClusterState(stale_after=1e6)
    names = ["</script><img src=x onerror=alert(1)>", "\u202eevil", "x" * 100_000, 'quote"\\', "\x00\x1b]0;"]
    for name in names:
        state.put_nodes([NodeInfo(name, annotation(), name[:63])])
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    with page(state=state) as running:
        status, headers, body = running.get("/page/api/nodes")
        rows = json.loads(body)["rows"]
        assert (status, headers["content-type"]) == (200, "application/json")
        assert {row[0] for row in rows} >= {names[0], names[1], names[3]}
        assert max(len(row[0]) for row in rows) == 253
