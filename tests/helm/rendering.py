# SPDX-License-Identifier: Apache-2.0
"""The chart as the real Helm renders it, as values."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lab import manifests
from lab.controlplane import pins

CHART = manifests.CHART
KUBE_VERSION = f"v{pins.KUBERNETES_MODULE.version}"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
EVERY_API = (
    "--api-versions=cert-manager.io/v1",
    "--api-versions=monitoring.coreos.com/v1",
    "--api-versions=security.openshift.io/v1",
    "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
)
Object = dict[str, Any]


class OneOfEach(yaml.SafeLoader):
    """YAML whose maps name each key once, as Kustomize and Flux demand."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"given twice: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep=deep)


@cache
def program() -> str:
    """Helm; built first where there is none, which may take minutes."""
    return str(manifests.helm())


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm; ``values`` as a values file on standard input."""
    argv = [program(), *arguments, *(["--values", "-"] if values is not None else [])]
    given = json.dumps(values) if values is not None else None
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=False, timeout=120)


def template(
    values: Mapping[str, Any] | None = None, *flags: str, release: str = "tf", namespace: str = "space",
    kube_version: str = KUBE_VERSION,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    argv = ["template", release, str(CHART), "--namespace", namespace, "--kube-version", kube_version, *flags]
    return _once(tuple(argv), json.dumps(values or {}))


@cache
def _once(argv: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    return helm(*argv, values=json.loads(values))


def rendered(values: Mapping[str, Any] | None = None, *flags: str, **where: str) -> list[Object]:
    """All objects; fails the test with Helm's words when it refuses."""
    done = template(values, *flags, **where)
    assert done.returncode == 0, done.stderr
    return [value for value in yaml.load_all(done.stdout, Loader=OneOfEach) if value]


def scenario(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    return values


def one(objects: Iterable[Object], kind: str, name: str = "") -> Object:
    """The only object of a kind (and with a name that ends so)."""
    [found] = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(name)]
    return found


def kinds(objects: Iterable[Object]) -> set[str]:
    return {o["kind"] for o in objects}


def pod_spec(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    [only] = pod_spec(workload)["containers"]
    found: Object = only
    return found


def pem(secret: Object, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()
