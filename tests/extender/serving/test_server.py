# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import http.client
import json
import queue
import socket
import ssl
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from extender.api.body import BodyReader
from extender.serving import accept
from extender.serving import server as server_module
from extender.serving.certificates import Certificates
from extender.serving.limits import Limits, PortLimits
from extender.serving.metrics_port import only_pages
from extender.serving.server import listen
from extender.settings import TlsFiles
from lab.controlplane import pki
from tests.extender.builders import pod_json
from tests.extender.running import served, until

NAMES = ["busy", "mice", "free"]
SUITS = ["free"]
QUESTION = json.dumps({"Pod": pod_json(), "NodeNames": NAMES}).encode()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("pki") / "ours", ["IP:127.0.0.1"])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("pki") / "theirs", ["IP:127.0.0.1"])


def files(keys: pki.Pki, *, clients: bool) -> TlsFiles:
    return TlsFiles(keys.certificate("apiserver"), keys.key("apiserver"), keys.ca if clients else None)


def trusting(keys: pki.Pki, client: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(keys.ca))
    if client:
        context.load_cert_chain(keys.certificate(client), keys.key(client))
    return context


def ask(connection: http.client.HTTPConnection) -> list[str]:
    connection.request("POST", "/filter", QUESTION)
    answer: list[str] = json.loads(connection.getresponse().read())["NodeNames"]
    return answer


def status_of(port: int, method: str, path: str) -> int:
    """Of an answer over plain HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, QUESTION if method == "POST" else None)
    status = connection.getresponse().status
    connection.close()
    return status


def first_line(port: int, sent: bytes) -> bytes:
    """The status line that raw bytes are answered with; empty when the connection just closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        with client.makefile("rb") as answer:
            return answer.readline().strip()


def test_accepted_connections_do_not_wait_for_acknowledgements() -> None:
    with served() as (port, server), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        [held] = server.server_state.connections
        accepted = held.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_tls_serves_who_trusts_the_ca(ours: pki.Pki) -> None:
    with served(certificates=Certificates(files(ours, clients=False))) as (port, _):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(ours))
        assert ask(connection) == SUITS
        connection.close()


def test_with_a_client_ca_only_its_clients_are_let_in(ours: pki.Pki, theirs: pki.Pki) -> None:
    with served(certificates=Certificates(files(ours, clients=True))) as (port, server):
        known = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(ours, pki.SCHEDULER))
        assert ask(known) == SUITS
        known.close()
        stranger = trusting(ours)
        stranger.load_cert_chain(theirs.certificate(pki.SCHEDULER), theirs.key(pki.SCHEDULER))
        for context in (trusting(ours), stranger):
            refused = http.client.HTTPSConnection("127.0.0.1", port, context=context)
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(refused)
            refused.close()
    assert server.refused == {"no-client-certificate": 1, "client-certificate": 1}


def test_who_does_not_trust_our_certificate_is_told_apart_from_whom_we_do_not_trust(
    ours: pki.Pki, theirs: pki.Pki
) -> None:
    with served(certificates=Certificates(files(ours, clients=False))) as (port, server):
        refusing = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(theirs))
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(refusing)
        refusing.close()
        deadline = time.monotonic() + 20
        while not server.refused and time.monotonic() < deadline:
            time.sleep(0.01)
    assert server.refused == {"server-certificate": 1}


def test_the_metrics_port_needs_no_certificate_and_serves_pages_only(ours: pki.Pki) -> None:
    with listen("127.0.0.1", 0) as metrics_port:
        port = metrics_port.getsockname()[1]
        with served(
            certificates=Certificates(files(ours, clients=True)), metrics_port=metrics_port, drain=5.0
        ) as (
            _,
            server,
        ):
            answers = {}
            for path in ("/readyz", "/healthz", "/metrics", "/explain?namespace=a&pod=b", "/openapi.json"):
                answers[path] = status_of(port, "GET", path)
            for path in ("/filter", "/metrics"):
                answers[f"POST {path}"] = status_of(port, "POST", path)
            server.begin_drain()
            assert status_of(port, "GET", "/readyz") == 503
    assert answers == {
        "/readyz": 200, "/healthz": 200, "/metrics": 200, "/explain?namespace=a&pod=b": 404, "/openapi.json": 404,
        "POST /filter": 404, "POST /metrics": 404,
    }  # fmt: skip


def test_every_port_accepts_before_the_server_says_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics_port = listen("127.0.0.1", 0)
    early: queue.Queue[socket.socket] = queue.Queue()

    def connect_while_starting(app: Any, page: Any) -> Any:
        early.put(socket.create_connection(metrics_port.getsockname(), timeout=10))
        return only_pages(app, page)

    monkeypatch.setattr(server_module, "only_pages", connect_while_starting)
    with metrics_port, served(metrics_port=metrics_port), early.get(timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_plain_http_on_the_tls_port_is_told_so(ours: pki.Pki) -> None:
    with served(certificates=Certificates(files(ours, clients=False))) as (port, server):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert answer.status == 400
        assert b"enableHTTPS: true" in answer.read()
        connection.close()
    assert server.refused == {"plain-http": 1}


def test_new_certificates_are_used_without_dropping_connections(
    tmp_path: Path, ours: pki.Pki, theirs: pki.Pki
) -> None:
    cert, key, ca = (tmp_path / name for name in ("cert", "key", "ca"))

    def install(keys: pki.Pki) -> None:
        for path, source in ((cert, keys.certificate("apiserver")), (key, keys.key("apiserver")), (ca, keys.ca)):
            (tmp_path / "new").write_bytes(source.read_bytes())
            (tmp_path / "new").replace(path)

    install(ours)
    certificates = Certificates(TlsFiles(cert, key, ca))
    assert not certificates.refresh()
    with served(certificates=certificates) as (port, _):
        old = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(ours, pki.SCHEDULER))
        assert ask(old) == SUITS
        install(theirs)
        assert certificates.refresh()
        assert certificates.changes == {"used": 1, "unusable": 0}
        new = http.client.HTTPSConnection("127.0.0.1", port, context=trusting(theirs, pki.SCHEDULER))
        assert ask(new) == SUITS
        assert ask(old) == SUITS, "the open connection lives on"
        late = trusting(theirs)
        late.load_cert_chain(ours.certificate(pki.SCHEDULER), ours.key(pki.SCHEDULER))
        outdated = http.client.HTTPSConnection("127.0.0.1", port, context=late)
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            ask(outdated)
        for connection in (old, new, outdated):
            connection.close()


def test_draining_answers_on_but_ends_each_connection_and_says_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(server_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with served(drain=2.0) as (port, server):
        held = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        held.request("GET", "/readyz")
        assert held.getresponse().read() == b"ok"
        server.begin_drain()
        held.request("GET", "/readyz")
        answer = held.getresponse()
        assert (answer.status, answer.getheader("connection")) == (503, "close")
        held.close()
        fresh = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        assert ask(fresh) == SUITS
        fresh.close()
        assert not server.should_exit
        now[0] += 2.0
        deadline = time.monotonic() + 60
        while not server.should_exit and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.should_exit, "it ends by itself"


def test_a_long_body_is_refused_before_it_is_sent() -> None:
    with served() as (port, _):
        head = f"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * 2**20}\r\n\r\n"
        assert first_line(port, head.encode()).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("sent", [b"", b"POST /filter HTT", b"POST /filter HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_headers_that_never_end_are_given_up(sent: bytes) -> None:
    with served(limits=Limits(head_seconds=0.2, keep_alive_seconds=0.4)) as (port, _):
        assert first_line(port, sent) == b""


def test_a_body_that_does_not_come_is_given_up() -> None:
    with served(bodies=BodyReader(seconds=0.2)) as (port, _):
        sent = b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        assert first_line(port, sent).startswith(b"HTTP/1.1 408")


def test_a_handshake_that_does_not_come_is_given_up(ours: pki.Pki) -> None:
    limits = Limits(handshake_seconds=0.2)
    with served(certificates=Certificates(files(ours, clients=False)), limits=limits) as (port, server):
        assert first_line(port, b"") == b""
        assert first_line(port, b"\x16\x03\x01") == b""
        assert server.refused["slow-handshake"] == 2


def test_one_connection_too_many_takes_the_place_of_one_that_was_never_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "FRESH_SECONDS", 0.0)
    limits = Limits(main_port=PortLimits(connections=2, per_address=2))
    with served(limits=limits) as (port, server):
        known = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        assert ask(known) == SUITS
        with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
            until(lambda: len(server.server_state.connections) == 2)
            newest = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            assert ask(newest) == SUITS
            assert silent.recv(1) == b"", "it waited, and had never asked"
        assert ask(known) == SUITS, "its connection was left alone"
        for connection in (known, newest):
            connection.close()
        assert server.refused["too-many-of-address"] == 1
