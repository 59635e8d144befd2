# SPDX-License-Identifier: Apache-2.0
"""Server certificates that kubectl accepts, and those that it refuses, in real handshakes."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from urllib3.util import ssl_

from footprint.cluster.client import ApiError, connect, request
from lab.controlplane import pki

KUBECONFIG = """
current-context: c
clusters: [{{name: c, cluster: {{server: "https://{host}:{port}", certificate-authority: "{ca}"}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
"""
OLD_CA = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
[server]
authorityKeyIdentifier = none
subjectKeyIdentifier = none
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1
"""


@pytest.fixture(autouse=True, params=[False, True], ids=["this Python's defaults", "the defaults of 3.13"])
def _defaults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib3 chooses strictness by Python's version."""
    if request.param:
        monkeypatch.setattr(ssl_, "sys", SimpleNamespace(version_info=(3, 13)))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA and a server certificate as clusters of some years ago have them."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "openssl.cnf").write_text(OLD_CA)
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 30 -keyout ca.key -out ca.crt -subj /CN=kubernetes "
        "-config openssl.cnf -extensions ca",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=kube-apiserver "
        "-config openssl.cnf",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out server.crt "
        "-extfile openssl.cnf -extensions server",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@contextmanager
def served(certificate: Path, key: Path) -> Iterator[int]:
    """The port of an HTTPS server that answers ``{}``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that refuses the certificate is what some tests want."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Quiet(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def asked(folder: Path, port: int, ca: Path, host: str = "127.0.0.1") -> object:
    path = folder / "config"
    path.write_text(KUBECONFIG.format(port=port, ca=ca, host=host))
    return request(connect(str(path), user_agent="test"), "GET", "/api/v1/nodes")


def test_a_certificate_without_authority_key_identifier_is_accepted(tmp_path: Path, old: Path) -> None:
    with served(old / "server.crt", old / "server.key") as port:
        assert asked(tmp_path, port, old / "ca.crt") == {}


def test_a_certificate_of_another_ca_is_refused(tmp_path: Path, old: Path) -> None:
    other = pki.create(tmp_path / "other", ["IP:127.0.0.1"])
    with (
        served(old / "server.crt", old / "server.key") as port,
        pytest.raises(ApiError, match="check the CA in the kubeconfig"),
    ):
        asked(tmp_path, port, other.ca)


def test_a_certificate_of_another_name_is_refused(tmp_path: Path, old: Path) -> None:
    with served(old / "server.crt", old / "server.key") as port, pytest.raises(ApiError, match="cannot reach"):
        asked(tmp_path, port, old / "ca.crt", host="localhost")


def test_the_machines_own_roots_count_where_the_kubeconfig_names_no_ca(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(old / "ca.crt"))  # OpenSSL's name for them
    path = tmp_path / "config"
    with served(old / "server.crt", old / "server.key") as port:
        whole = KUBECONFIG.format(port=port, ca="", host="127.0.0.1")
        path.write_text(whole.replace(', certificate-authority: ""', ""))
        assert request(connect(str(path), user_agent="test"), "GET", "/api/v1/nodes") == {}
