# SPDX-License-Identifier: Apache-2.0
"""The plugin beside the real kubectl and the real API server: the same files, contexts, objects and refusals."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from footprint.cluster.client import ClusterConfigError
from lab import programs
from lab.controlplane.assets import locate
from lab.controlplane.pins import KUBECTL, KUBERNETES_MODULE
from lab.lab import Lab, LabConfig
from plugin.kubeconfig import Selection, load
from plugin.manifests import pods_of
from tests.cluster.conftest import logs_of, running

pytestmark = pytest.mark.cluster

POD = "kind: Pod\napiVersion: v1\nmetadata: {name: p, namespace: ns}\nspec: {containers: [{name: c, image: i}]}\n"
SERVICE = "kind: Service\napiVersion: v1\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
TEMPLATE = "spec: {selector: {}, template: {spec: {containers: [{name: c, image: i}]}}}\n"
DEPLOYMENT = f"kind: Deployment\napiVersion: apps/v1\nmetadata: {{name: d, namespace: ns}}\n{TEMPLATE}"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One node with an agent, and an extender in shadow mode."""
    module = request.module.__name__.rpartition(".")[2]
    yield from running(LabConfig(nodes=1, extender_args=("--shadow",), keep_dir=logs_of(module)))


@pytest.fixture(scope="module")
def kubectl() -> Path:
    """The pinned kubectl; what it says of files needs no cluster."""
    found, _ = locate(KUBERNETES_MODULE)
    if KUBECTL not in found:
        pytest.fail("kubectl is not built; run `make controlplane`", pytrace=False)
    return found[KUBECTL].path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed program."""
    program = programs.console_script("kubectl-footprint")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


def write(folder: Path, name: str, current: str = "") -> Path:
    """A kubeconfig with a cluster, a context and a user of ``name``."""
    path = folder / name
    path.write_text(yaml.safe_dump({
        "kind": "Config", "apiVersion": "v1", "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        "users": [{"name": name, "user": {"token": f"t-{name}"}}],
    }))  # fmt: skip
    return path


def as_kubectl(kubectl: Path, flags: Mapping[str, str], **environment: str) -> tuple[str, str, str] | None:
    """Server, token and namespace as kubectl reads them; None where it refuses."""
    given = [f"--{name}={value}" for name, value in flags.items()]
    done = subprocess.run(
        [kubectl, *given, "config", "view", "--minify", "--raw", "-o", "json"],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode:
        return None
    found = json.loads(done.stdout)
    context = found["contexts"][0]["context"]
    user = {one["name"]: one["user"] for one in found["users"] or ()}.get(context.get("user"), {})
    [cluster] = found["clusters"]
    return cluster["cluster"]["server"], str(user.get("token", "")), context.get("namespace", "default")


def as_plugin(flags: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    try:
        access = load(Selection(**flags), environment)
    except ClusterConfigError:
        return None
    token = str(access.configuration.api_key.get("BearerToken", "")).removeprefix("Bearer ")
    return access.configuration.host, token, access.namespace


@pytest.mark.parametrize("flags", [{}, {"context": "b"}, {"context": "none"}, {"kubeconfig": "b"}], ids=str)
@pytest.mark.parametrize(
    "parts", ["a:b", "b:a", ":a", "a:", "none:a", "none::a", "empty:b:a", "c:a", "a2:a", "", "b"]
)
def test_kubeconfigs_are_read_as_kubectl_reads_them(
    kubectl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: str, flags: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / ".kube").mkdir()
    write(tmp_path, "home", "home").rename(tmp_path / ".kube" / "config")
    write(tmp_path, "a", "a"), write(tmp_path, "b")
    (tmp_path / "empty").write_text("")
    (tmp_path / "c").write_text("kind: Config\ncurrent-context: b\n")
    # The same names once more, with other values.
    (tmp_path / "a2").write_text((tmp_path / "a").read_text().replace("a.example", "a2.example"))
    environment = {"KUBECONFIG": parts}
    assert as_plugin(flags, environment) == as_kubectl(kubectl, flags, **environment)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (POD, "p"), (f"---\n{SERVICE}---\n{DEPLOYMENT}---\n", "d"), (f"{POD}---\n---\n{DEPLOYMENT}", "pd"),
        (json.dumps({"kind": "List", "apiVersion": "v1", "items": [yaml.safe_load(POD)]}, indent="\t"), "p"),
    ],
    ids=["one", "stream", "empty document", "List"],
)  # fmt: skip
@pytest.mark.parametrize(
    "coded",
    [(b"", "utf-8"), (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
     (codecs.BOM_UTF16_BE, "utf-16-be")],
    ids=["plain", "UTF-8", "UTF-16 LE", "UTF-16 BE"],
)  # fmt: skip
def test_manifests_hold_what_kubectl_finds_in_them(
    kubectl: Path, tmp_path: Path, text: str, kinds: str, coded: tuple[bytes, str]
) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(coded[0] + text.encode(coded[1]))
    command: list[str | Path] = [kubectl, "label", "--local", "-f", path, "a=b", "-o", "name"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    found = [pod["metadata"]["name"] for pod in pods_of([str(path)], "ns")]
    assert found == [name.rpartition("/")[2] for name in seen if not name.startswith("service/")] == list(kinds)


def test_every_command_reads_the_cluster_of_a_merged_kubeconfig(lab: Lab, tmp_path: Path) -> None:
    other, manifest = write(tmp_path, "other"), tmp_path / "pod.yaml"
    manifest.write_text(POD)
    merged = f":{tmp_path / 'none'}:{other}:{lab.kubeconfig}"  # the current context is the last file's
    [node] = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    name = node["metadata"]["name"]
    nodes = run("nodes", KUBECONFIG=merged)
    assert [line.split()[0] for line in nodes.stdout.splitlines()] == ["NODE", name], nodes.stderr
    empty = run("pods", "-A", KUBECONFIG=merged)
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "no measured pods in this cluster\n")
    explained = run("explain", "-f", str(manifest), "-o", "json", KUBECONFIG=merged)
    assert list(json.loads(explained.stdout)["nodes"]) == [name], explained.stderr
    shadow = run("shadow", "--url", programs.EXTENDER_URL, KUBECONFIG=merged)
    assert "would-have-been-kept-off" in shadow.stdout, shadow.stderr


def test_an_account_without_rights_is_refused_in_one_line(lab: Lab, tmp_path: Path) -> None:
    users = tmp_path / "users"
    token = lab.kubectl("create", "token", "default", "-n", "default").strip()
    users.write_text(yaml.safe_dump({"users": [{"name": "nobody", "user": {"token": token}}]}))
    merged = f"{lab.kubeconfig}:{users}"
    assert run("nodes", KUBECONFIG=merged).returncode == 0
    refused = run("nodes", "--user", "nobody", KUBECONFIG=merged)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert 'User "system:serviceaccount:default:default" cannot list resource "nodes"' in refused.stderr
