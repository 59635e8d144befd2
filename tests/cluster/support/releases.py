# SPDX-License-Identifier: Apache-2.0
"""A release of the chart in a lab: Helm's commands, its objects, the programs that stand in for its pods.

Enters: a lab. Leaves: handles on the release. What here plays the container runtime does it by
``tests.cluster.support.containers``; everything else is the real API server, the real controllers and the real
Helm.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from footprint.cluster.client import ApiError, request
from footprint.keys import PREFIX
from lab import manifests
from lab.errors import LabError
from lab.lab import Lab
from lab.network.addresses import node_v4
from lab.processes import Process
from tests.cluster.support.containers import Container
from tests.cluster.support.workloads import get, metrics

NAME: Final = "traffic-footprint"
"""Of the release and of its namespace."""
HOST: Final = f"{NAME}-extender.{NAME}.svc"
INSTANCE: Final = f"app.kubernetes.io/instance={NAME}"
VALUES: Final[dict[str, Any]] = {
    # Every node's agent would hang its hooks on the one kernel that plays all nodes.
    "nodeagent": {"settings": {"source": "ctnetlink", "uplink": "eth0", "linkCapacity": "200M"}},
}
Object = dict[str, Any]


@dataclass
class Release:
    """The release in its lab, and the programs that stand in for its pods."""

    lab: Lab
    home: Path
    containers: dict[str, tuple[Container, Process]]

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run Helm as the administrator. It works on the release's namespace."""
        argv = [str(manifests.helm()), "--kubeconfig", str(self.lab.kubeconfig), "--namespace", NAME, *arguments]
        argv += ["--values", "-"] if values is not None else []
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        given = json.dumps(values) if values is not None else None
        return subprocess.run(argv, input=given, env=env, capture_output=True, text=True, check=False, timeout=600)

    def upgrade(self, values: Mapping[str, Any] | None = None) -> str:
        """``VALUES`` and further ones; what Helm said. What tests wrote over the chart's fields is taken back."""
        given = merged(VALUES, values or {})
        done = self.helm("upgrade", NAME, str(manifests.CHART), "--force-conflicts", values=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, kind: str, suffix: str = "") -> Object:
        """An object of the release by the end of its name."""
        found: Object = get(self.lab, kind, f"{NAME}{suffix}", "-n", NAME)
        return found

    def pods(self, component: str) -> list[Object]:
        """Its bound pods of one component."""
        selector = f"{INSTANCE},app.kubernetes.io/component={component}"
        listed: list[Object] = get(self.lab, "pods", "-n", NAME, "-l", selector)["items"]
        return [p for p in listed if p["spec"].get("nodeName") and not p["metadata"].get("deletionTimestamp")]

    def run(self, made: Object, netns: str, extender: str = node_v4(1)) -> Process:
        """The container of one of its pods, in a namespace of the lab; ``extender`` is the extender's address."""
        name = made["metadata"]["name"]
        hosts = {HOST: extender}
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.home))  # a new one for another try
        container = Container(self.lab, made, directory, netns, hosts)
        process = container.start()
        self.containers[name] = container, process
        return process

    def stop(self, name: str) -> int:
        """SIGTERM to a container; its exit status."""
        _, process = self.containers.pop(name)
        return process.stop(signal.SIGTERM, 20)

    def secret(self, suffix: str) -> dict[str, str]:
        return {k: base64.b64decode(v).decode() for k, v in self.get("secret", suffix)["data"].items()}

    def template_of(self, kind: str, suffix: str) -> Object:
        found: Object = self.get(kind, suffix)["spec"]["template"]
        return found


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = {k: v for k, v in more.items() if not isinstance(v, Mapping)}
    for key in {**values, **more}:
        if key not in both:
            mine, others = values.get(key, {}), more.get(key, {})
            both[key] = merged(mine, others) if isinstance(mine, Mapping) else mine
    return both


def ours_on(lab: Lab, node: str) -> dict[str, str]:
    """Those of ours."""
    found = get(lab, "node", node)["metadata"].get("annotations", {})
    return {key: value for key, value in found.items() if key.startswith(PREFIX)}


def leases(lab: Lab) -> list[str]:
    return [item["metadata"]["name"] for item in get(lab, "leases", "-n", NAME)["items"]]


def container_of(release: Release, component: str) -> Process:
    """The first container of a component."""
    return next(p for name, (_, p) in release.containers.items() if f"-{component}-" in name)


def asked(verb: str) -> float:
    """Requests of kube-scheduler that the extender has decided."""
    shown = metrics(f"http://{node_v4(1)}:8891/metrics")
    return sum(
        v for k, v in shown.items() if k.startswith("traffic_footprint_extender_requests_total") and verb in k
    )


def status_of(context: ssl.SSLContext) -> int:
    """Of a response to kube-scheduler's request, sent over TLS to the Service's name; 0 when there is none."""
    body = b'{"Pod": {"metadata": {"name": "p"}, "spec": {}}, "NodeNames": []}'
    head = f"POST /filter HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((node_v4(1), 8890), timeout=20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=HOST) as tls:
                tls.sendall(head.encode() + body)
                answer = tls.recv(65536)
        except (ssl.SSLError, ConnectionError):
            return 0
    return int(answer.split()[1]) if answer else 0


def certify(context: ssl.SSLContext, secret: Mapping[str, str], path: Path) -> None:
    """Give a client the certificate of a Secret."""
    path.write_text(secret["tls.crt"] + secret["tls.key"])
    context.load_cert_chain(path)


def expire(release: Release, suffix: str, days: int) -> None:
    """Say of a certificate that it is valid for so many days."""
    until = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    release.lab.kubectl(
        "-n", NAME, "annotate", "--overwrite", "secret", f"{NAME}{suffix}", f"{PREFIX}valid-until={until}"
    )


def run_the_hook(release: Release, over: threading.Event, seen: list[int]) -> None:
    """Be the container runtime while Helm uninstalls: end agents whose pods are gone, run the hook's pod."""
    while not over.wait(0.3):
        with suppress(ApiError, LabError):
            listed = request(release.lab.api, "GET", f"/api/v1/namespaces/{NAME}/pods")["items"]
            present = {p["metadata"]["name"] for p in listed if not p["metadata"].get("deletionTimestamp")}
            for name in [n for n in release.containers if n not in present]:
                release.stop(name)
            for each in listed:
                if f"{NAME}-cleanup" in each["metadata"]["name"] and each["spec"].get("nodeName") and not seen:
                    status = release.run(each, "cp").wait(240)
                    seen.append(status)
                    finish(release.lab, each, status)


def finish(lab: Lab, made: Object, status: int) -> None:
    """Report a container's end as a kubelet does."""
    path = f"/api/v1/namespaces/{NAME}/pods/{made['metadata']['name']}/status"
    terminated = {"exitCode": status, "reason": "Completed"}
    body = {
        "status": {
            "phase": "Failed" if status else "Succeeded",
            "containerStatuses": [
                {"name": "cleanup", "image": "none", "imageID": "", "ready": False, "restartCount": 0,
                 "state": {"waiting": None, "terminated": terminated}}
            ],
        }
    }  # fmt: skip
    request(lab.api, "PATCH", path, body=body, content_type="application/strategic-merge-patch+json")


def key(each: Object) -> tuple[str, str]:
    return each["kind"], each["metadata"]["name"]


HELMS_OWN: Final = frozenset({"helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by"})
"""Labels and annotations that only mean something where Helm is."""
OF_A_RELEASE: Final = frozenset(
    f"app.kubernetes.io/{what}" for what in ("name", "instance", "component", "version")
)
"""Labels of the chart that the base has none of, which is no release."""
UNSCOPED: Final = frozenset({"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"})
"""Kinds without a namespace that Kustomize gives one all the same; the API server's clients drop it."""


def content(each: Object, without: Set[str] = frozenset()) -> Object:
    """All of an object but the labels and annotations ``without``; texts that are YAML as what they say."""
    metadata = dict(each["metadata"])
    if each["kind"] in UNSCOPED:
        metadata.pop("namespace", None)
    for kept in ("labels", "annotations"):
        metadata[kept] = {k: v for k, v in metadata.get(kept, {}).items() if k not in without}
    rest = {k: one_spaced(v) for k, v in each.items() if k not in ("metadata", "data")}
    data = each.get("data") or {}
    read = {k: yaml.safe_load(v) for k, v in data.items()} if each["kind"] == "ConfigMap" else data
    return {**rest, "metadata": metadata, "data": read}


def one_spaced(value: Any, name: str = "") -> Any:
    """Kustomize writes folded expressions with further blank lines, which mean nothing in them."""
    if isinstance(value, dict):
        return {k: one_spaced(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [one_spaced(v) for v in value]
    return " ".join(value.split()) if name == "expression" else value
