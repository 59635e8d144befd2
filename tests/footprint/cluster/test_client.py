# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kubernetes import config

from footprint.cluster.client import ApiError, ClusterConfigError, connect, request
from lab.controlplane import pki
from tests.plugin.doctor import authority

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
"""


@pytest.mark.parametrize("content", [None, "", "not: [valid", "{}", "\x00\x01"])
def test_an_unreadable_kubeconfig_is_one_error_that_names_the_remedy(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterConfigError, match=r"--kubeconfig") as refused:
        connect(str(path), user_agent="test")
    assert "\n" not in str(refused.value)


def test_outside_a_pod_the_flag_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterConfigError, match="--kubeconfig FILE"):
        connect(None, user_agent="test")


def test_an_api_server_that_is_away_is_status_zero(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    with pytest.raises(ApiError, match="cannot reach") as away:
        request(connect(str(path), user_agent="test"), "GET", "/api/v1/nodes")
    assert away.value.status == 0


def test_a_kubeconfig_that_cannot_even_be_looked_at_is_one_error_that_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(ClusterConfigError, match=r"Permission denied.*--kubeconfig FILE"):
        connect("/root/.kube/config", user_agent="test")


def test_the_home_of_nobody_is_one_error_that_names_the_remedy() -> None:
    with pytest.raises(ClusterConfigError, match=r"--kubeconfig FILE"):
        connect("~no-such-user-here/config", user_agent="test")


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose every connection is handed to ``serve``."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def over_tls(tmp_path: Path, port: int, ca: Path, host: str = "127.0.0.1") -> str:
    """A kubeconfig for the server on ``port``, trusted if ``ca`` signed it."""
    path = tmp_path / "config"
    cluster = f'server: "https://{host}:{port}", certificate-authority: "{ca}"'
    path.write_text(KUBECONFIG.replace('server: "http://127.0.0.1:1"', cluster))
    return str(path)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("pki") / "keys", ["IP:127.0.0.1"])


def ends_the_handshake(connection: socket.socket) -> None:
    connection.recv(2**16)


def answers_in_plain_text(connection: socket.socket) -> None:
    connection.recv(2**16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("fault", [ends_the_handshake, answers_in_plain_text])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_handshake_that_fails_is_an_api_server_that_is_away(
    tmp_path: Path, keys: pki.Pki, fault: Callable[[socket.socket], None], method: str
) -> None:
    with listening(fault) as port:
        api = connect(over_tls(tmp_path, port, keys.ca), user_agent="test")
        with pytest.raises(ApiError, match="cannot reach") as away:
            request(api, method, "/api/v1/nodes/n", body={} if method == "PATCH" else None)
    assert away.value.status == 0
    assert "\n" not in str(away.value)


def test_a_server_whose_certificate_another_ca_signed_is_away_and_the_remedy_is_named(
    tmp_path: Path, keys: pki.Pki
) -> None:
    other = pki.create(tmp_path / "other", ["IP:127.0.0.1"])
    said = refused(tmp_path, keys.certificate("apiserver"), keys.key("apiserver"), ca=other.ca)
    assert "check the CA in the kubeconfig" in said


@pytest.mark.parametrize("off", [timedelta(days=2), timedelta(days=-2)], ids=["not yet valid", "expired"])
def test_a_certificate_of_another_time_is_named_with_this_machines_clock(tmp_path: Path, off: timedelta) -> None:
    now = datetime.now(UTC)
    ca = authority.issue("ca", now, ca=True)
    server = authority.issue("apiserver", now + off, by=ca, names=("localhost",), days=1)
    files = {"ca": ca.pem, "crt": server.pem, "key": server.key_pem}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    said = refused(tmp_path, tmp_path / "crt", tmp_path / "key", ca=tmp_path / "ca", host="localhost")
    assert f"this machine's clock says {now:%Y-%m-%d}" in said
    assert "check the CA" not in said


def refused(tmp_path: Path, certificate: Path, key: Path, *, ca: Path, host: str = "127.0.0.1") -> str:
    """What is said of a server with this certificate, where ``ca`` is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def handshake(connection: socket.socket) -> None:
        with suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with listening(handshake) as port:
        api = connect(over_tls(tmp_path, port, ca, host), user_agent="test")
        with pytest.raises(ApiError) as away:
            request(api, "GET", "/api/v1/nodes")
    assert away.value.status == 0
    return str(away.value)


@pytest.mark.parametrize(
    "error", [config.ConfigException("Token file exists but empty."), PermissionError(13, "no")]
)
def test_a_token_that_cannot_be_read_anew_is_a_request_that_failed(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    api = connect(str(path), user_agent="test")

    def refresh(_configuration: object) -> None:
        raise error

    api.configuration.refresh_api_key_hook = refresh
    with pytest.raises(ApiError, match="cannot reach") as failed:
        request(api, "GET", "/api/v1/nodes")
    assert failed.value.status == 0
