# SPDX-License-Identifier: Apache-2.0
"""A container's command line from the manifest that ships it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.images import pods

CONFIG = {"User": "0:0", "Env": ["PATH=/bin"], "Entrypoint": ["program"], "Cmd": ["run"]}
MANIFEST: dict[str, Any] = {
    "kind": "DaemonSet",
    "spec": {"template": {"spec": {
        "securityContext": {"runAsUser": 7},
        "containers": [{
            "args": ["run", "--a=1", "--tls-cert=x"],
            "env": [{"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "PLAIN", "value": "v"}],
            "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN"]}},
            "volumeMounts": [{"name": "bpffs", "mountPath": "/sys/fs/bpf"},
                             {"name": "tls", "mountPath": "/etc/tls", "readOnly": True}],
        }],
        "volumes": [{"name": "bpffs", "hostPath": {"path": "/sys/fs/bpf"}}, {"name": "tls", "secret": {}}],
    }}},
}  # fmt: skip


def build(manifest: dict[str, Any] = MANIFEST, **values: Any) -> list[str]:
    given: dict[str, Any] = {"folders": {"tls": Path("/tls")}, "fields": {"spec.nodeName": "node1"}, **values}
    return pods.as_shipped(Path("/r"), CONFIG, manifest, **given)


def changed(**security: Any) -> dict[str, Any]:
    other = copy.deepcopy(MANIFEST)
    pods.container(other)["securityContext"].update(security)
    return other


def test_arguments_user_capabilities_environment_and_mounts_are_the_manifests() -> None:
    argv = build(account=Path("/sa"), api=("10.0.0.1", 443))
    assert argv[argv.index("env") :] == [
        "env", "-i", "PATH=/bin", "WHERE=node1", "PLAIN=v", "KUBERNETES_SERVICE_HOST=10.0.0.1",
        "KUBERNETES_SERVICE_PORT=443", "program", "run", "--a=1", "--tls-cert=x",
    ]  # fmt: skip
    assert argv[argv.index("--reuid") + 1] == argv[argv.index("--regid") + 1] == "7"
    assert "--bounding-set=-all,+bpf,+net_admin" in argv
    assert argv[argv.index("BIND") : argv.index("RUN")] == [
        "BIND", "/sys/fs/bpf", "/sys/fs/bpf", "rw", "BIND", "/tls", "/etc/tls", "ro",
        "BIND", "/sa", pods.ACCOUNT, "ro",
    ]  # fmt: skip


def test_arguments_can_be_left_out() -> None:
    assert build(arguments=lambda given: pods.without(given, "--tls-"))[-3:] == ["program", "run", "--a=1"]


@pytest.mark.parametrize(
    ("manifest", "values", "said"),
    [
        (MANIFEST, {"folders": {}}, "volume tls"),
        (MANIFEST, {"fields": {}}, r"spec\.nodeName"),
        (changed(readOnlyRootFilesystem=False), {}, "may write"),
        (changed(allowPrivilegeEscalation=True), {}, "gain privileges"),
        (changed(capabilities={"add": ["BPF"]}), {}, "drop all"),
    ],
)
def test_what_is_not_done_here_is_refused(manifest: dict[str, Any], values: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said):
        build(manifest, **values)


@pytest.mark.parametrize("component", ["nodeagent", "extender"])
def test_the_shipped_manifests_name_the_images_as_they_are_built(component: str) -> None:
    image = pods.container(pods.workload(component))["image"]
    assert image.rpartition(":")[0].endswith(f"traffic-footprint/{component}")
