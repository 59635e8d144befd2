# SPDX-License-Identifier: Apache-2.0
"""The plugin's ways to a real API server: kubeconfigs of every kind, and accounts that may not do everything."""

from __future__ import annotations

import json
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from footprint.cluster.client import request
from lab.controlplane import readiness
from lab.lab import Lab, LabConfig
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.identities import RBAC
from tests.cluster.support.plugin import SHOP, credentials, golden, plugin, refused

pytestmark = pytest.mark.cluster

NAMES = ["node/golden-a", "node/golden-b", "node/node1"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One node, no programs of ours, and the golden objects."""
    for one in running(LabConfig(nodes=1, agents=False, extender=False, keep_dir=logs_of("test_plugin_access"))):
        golden(one)
        yield one


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No kubeconfig but the one that a test names, and a working folder of its own."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def write(path: Path, **sections: Any) -> Path:
    """A kubeconfig of named clusters, users and contexts."""
    inner = {"clusters": "cluster", "users": "user", "contexts": "context"}
    content: dict[str, Any] = {"apiVersion": "v1", "kind": "Config"}
    for section, entries in sections.items():
        content[section] = (
            [{"name": name, inner[section]: value} for name, value in entries.items()]
            if section in inner
            else entries
        )
    path.write_text(json.dumps(content))
    return path


def whole(path: Path, cluster: Any, user: Any, **context: str) -> Path:
    """A kubeconfig of one context."""
    return write(
        path, clusters={"c": cluster}, users={"u": user}, contexts={"x": {"cluster": "c", "user": "u", **context}},
        **{"current-context": "x"},
    )  # fmt: skip


def nodes(config: Path, *flags: str) -> list[str]:
    return plugin("nodes", "-o", "name", "--kubeconfig", str(config), *flags).stdout.split()


def test_certificates_are_found_beside_the_kubeconfig_that_names_them(lab: Lab, tmp_path: Path) -> None:
    known = credentials(lab, tmp_path / "kube")
    assert not Path(known["user"]["client-key"]).is_absolute()
    config = whole(tmp_path / "kube" / "config", known["cluster"], known["user"])
    assert nodes(config) == NAMES
    assert nodes(Path("../kube/config")) == NAMES


def test_clusters_users_and_contexts_may_stand_in_different_files(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = credentials(lab, tmp_path / "one")
    write(tmp_path / "one" / "config", clusters={"c": known["cluster"]})
    (tmp_path / "two").mkdir()
    user = {key: f"../one/{name}" for key, name in known["user"].items()}
    write(tmp_path / "two" / "config", users={"u": user})
    contexts = {
        "shop": {"cluster": "c", "user": "u", "namespace": SHOP}, "other": {"cluster": "c", "user": "u"},
        "away": {"cluster": "away", "user": "u"},
    }  # fmt: skip
    away = {"away": {"server": "http://127.0.0.1:1"}}
    write(tmp_path / "three", contexts=contexts, clusters=away, **{"current-context": "shop"})
    monkeypatch.setenv(
        "KUBECONFIG", f"{tmp_path}/one/config:{tmp_path}/none:{tmp_path}/two/config:{tmp_path}/three"
    )
    assert plugin("pods", "-o", "name").stdout.split() == ["pod/bulk-0", "pod/web-0"]
    assert plugin("pods", "-o", "name", "--context", "other").stdout.split() == ["pod/web-1"]
    assert plugin("nodes", "-o", "name", "--context", "away", "--cluster", "c").stdout.split() == NAMES
    assert "cannot reach the API server" in refused("nodes", "--context", "away")
    assert "did you mean other?" in refused("nodes", "--context", "othr")


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def exec_user(command: str) -> dict[str, Any]:
    return {"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never",
        "env": [{"name": "WHO", "value": "plugin"}],
    }}  # fmt: skip


def credential(status: dict[str, str]) -> str:
    found = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f'test "$WHO" = plugin && test -n "$KUBERNETES_EXEC_INFO" && printf %s {shlex.quote(json.dumps(found))}'


def test_an_exec_plugin_gives_a_token_or_a_certificate(lab: Lab, tmp_path: Path) -> None:
    known = credentials(lab, tmp_path)
    account(lab, "reader", ("nodes", "list"))
    by_token = credential({"token": readiness.token(lab.api, SHOP, "reader")})
    certificate, key = (
        (tmp_path / known["user"][name]).read_text() for name in ("client-certificate", "client-key")
    )
    by_certificate = credential({"clientCertificateData": certificate, "clientKeyData": key})
    for name, text in (("token", by_token), ("certificate", by_certificate)):
        executable(tmp_path / name, text)
        assert nodes(whole(tmp_path / "config", known["cluster"], exec_user(f"./{name}"))) == NAMES


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo nobody is logged in >&2; exit 3", "nobody is logged in"), ("echo nonsense", "decode"),
        (credential({}), "missing token or clientCertificateData"),
    ],
)  # fmt: skip
def test_an_exec_plugin_that_fails_is_one_line(lab: Lab, tmp_path: Path, text: str, reason: str) -> None:
    known = credentials(lab, tmp_path)
    executable(tmp_path / "failing", text)
    config = whole(tmp_path / "config", known["cluster"], exec_user("./failing"))
    assert reason in refused("nodes", "--kubeconfig", str(config))
    missing = whole(tmp_path / "config", known["cluster"], exec_user("./not-there"))
    assert "not-there" in refused("nodes", "--kubeconfig", str(missing))


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that knows CONNECT, and the requests that it got."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := source.recv(2**16):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        def serve(client: socket.socket) -> None:
            with client:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(4096)
                asked.append(head.split(b"\r\n")[0].decode())
                host, _, port = asked[-1].split()[1].rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port))) as server:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=pump, args=(server, client), daemon=True)
                    back.start()
                    pump(client, server)
                    back.join()

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_proxy_of_the_kubeconfig_is_used(lab: Lab, tmp_path: Path) -> None:
    known = credentials(lab, tmp_path)
    server = known["cluster"]["server"].removeprefix("https://")
    with proxy() as (address, asked):
        assert (
            nodes(whole(tmp_path / "config", {**known["cluster"], "proxy-url": address}, known["user"])) == NAMES
        )
    assert asked
    assert all(line.startswith(f"CONNECT {server} ") for line in asked)


def account(lab: Lab, name: str, *rights: tuple[str, str]) -> None:
    """A service account in ``shop`` with these (resource, verb) of the whole cluster."""
    request(lab.api, "POST", f"/api/v1/namespaces/{SHOP}/serviceaccounts", body={"metadata": {"name": name}})
    rules = [
        {"apiGroups": [group or ""], "resources": [resource], "verbs": [verb]}
        for whole_name, verb in rights
        for resource, _, group in [whole_name.partition(".")]
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    request(lab.api, "POST", f"{RBAC}/clusterroles", body={**role, "kind": "ClusterRole", "rules": rules})
    request(lab.api, "POST", f"{RBAC}/clusterrolebindings", body={
        **role, "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": SHOP}],
    })  # fmt: skip


def as_account(lab: Lab, folder: Path, name: str) -> str:
    known = credentials(lab, folder)
    user = {"token": readiness.token(lab.api, SHOP, name)}
    return str(whole(folder / "config", known["cluster"], user, namespace=SHOP))


def test_a_right_that_is_missing_is_named_with_the_command_that_checks_it(lab: Lab, tmp_path: Path) -> None:
    account(lab, "nobody")
    config = as_account(lab, tmp_path, "nobody")
    for arguments, verb, resource, where in (
        (["nodes"], "list", "nodes", "-A"),
        (["nodes", "node1"], "get", "nodes", "-A"),
        (["pods"], "list", "nodes", "-A"),
        (["workloads"], "list", "trafficfootprints.traffic-footprint.io", "-n shop"),
        (["workloads", "-A"], "list", "trafficfootprints.traffic-footprint.io", "-A"),
        (["explain", "web-0"], "list", "nodes", "-A"),
    ):
        told = refused(*arguments, "--kubeconfig", config)
        assert f"the verb {verb} on {resource}" in told
        assert f"`kubectl auth can-i {verb} {resource} {where}`" in told


def test_what_may_be_read_is_shown_and_what_may_not_is_said(lab: Lab, tmp_path: Path) -> None:
    account(lab, "partial", ("nodes", "list"), ("trafficfootprints.traffic-footprint.io", "list"))
    config = as_account(lab, tmp_path, "partial")
    shown = plugin("nodes", "--kubeconfig", config)
    assert [line.split()[-1] for line in shown.stdout.splitlines() if line.startswith("golden")] == ["?", "?"]
    assert shown.stderr.startswith("warning: heartbeats are not known: ")
    assert "leases.coordination.k8s.io -n traffic-footprint`" in shown.stderr
    assert shown.stderr.count("\n") == 1
    told = json.loads(plugin("pods", "-o", "json", "--kubeconfig", config).stdout)
    assert [item["freshness"] for item in told["items"]] == ["unknown", "unknown"]
    assert "heartbeats are not known" in told["missing"][0]
    for verb, arguments in (
        ("patch", ["workloads", "state", "Job/bulk", "--class", "mouse"]),
        ("create", ["workloads", "state", "Job/other", "--class", "mouse"]),
        ("delete", ["workloads", "forget", "Job/bulk"]),
    ):
        assert f"the verb {verb} on trafficfootprints" in refused(*arguments, "--kubeconfig", config)


def test_one_may_act_as_another(lab: Lab, tmp_path: Path) -> None:
    known = credentials(lab, tmp_path)
    config = str(whole(tmp_path / "config", known["cluster"], known["user"]))
    assert 'User "somebody" cannot list resource "nodes"' in refused(
        "nodes", "--kubeconfig", config, "--as", "somebody"
    )
    flags = ("--as", "somebody", "--as-group", "system:masters")
    assert plugin("nodes", "-o", "name", "--kubeconfig", config, *flags).stdout.split() == NAMES
    config = str(whole(tmp_path / "config", known["cluster"], {**known["user"], "as": "other"}))
    assert 'User "other" cannot' in refused("nodes", "--kubeconfig", config)


def test_credentials_that_are_not_accepted_are_one_line(lab: Lab, tmp_path: Path) -> None:
    known = credentials(lab, tmp_path)
    config = str(whole(tmp_path / "config", known["cluster"], {"token": "nonsense"}))
    assert "log in again" in refused("nodes", "--kubeconfig", config)
    other = {**known["cluster"], "certificate-authority": known["user"]["client-certificate"]}
    told = refused("nodes", "--kubeconfig", str(whole(tmp_path / "config", other, known["user"])))
    assert "check the CA in the kubeconfig" in told
