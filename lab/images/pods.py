# SPDX-License-Identifier: Apache-2.0
"""The command line that runs an image as a workload's manifest says: arguments, user, capabilities, mounts. Pure.

Enters: a DaemonSet or Deployment in YAML's form, and what a kubelet would fill in. Leaves: the command line of its
first container. It ignores the manifest's namespaces for network and processes (it shares the caller's), seccomp
and AppArmor profiles, resource limits and probes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from lab.errors import LabError
from lab.images.container import Bind, command

COMPONENTS: Final = Path(__file__).parents[2] / "manifests" / "components"
ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a kubelet mounts a pod's credentials."""
_KINDS: Final = {"DaemonSet", "Deployment"}


def workload(component: str) -> dict[str, Any]:
    """The workload that the manifests ship for ``component``. Raises LabError when there is not just one."""
    path = COMPONENTS / component / f"{component}.yaml"
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}") from error
    found = [document for document in documents if document and document["kind"] in _KINDS]
    if len(found) != 1:
        raise LabError(f"{path} holds {len(found)} workloads; exactly one is needed")
    workload: dict[str, Any] = found[0]
    return workload


def container(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The first container of ``manifest``."""
    first: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return first


def capabilities(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """What the container keeps, in lower case. Raises LabError unless it drops all others."""
    listed = container(manifest)["securityContext"]["capabilities"]
    if listed.get("drop") != ["ALL"]:
        raise LabError("the container does not drop all capabilities first; set capabilities.drop: [ALL]")
    return tuple(name.lower() for name in listed.get("add", ()))


def as_shipped(
    rootfs: Path,
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    *,
    folders: Mapping[str, Path],
    account: Path | None = None,
    fields: Mapping[str, str] | None = None,
    api: tuple[str, int] | None = None,
    arguments: Callable[[list[str]], list[str]] = lambda given: given,
) -> list[str]:
    """The command line.

    ``folders`` stand for the volumes that are no folders of the host, by name; ``account`` holds the service
    account's files; ``fields`` are answers to the downward API; ``api`` is the API server's host and port;
    ``arguments`` may change the container's. Raises LabError for a manifest that asks for what is not done here.
    """
    first, pod = container(manifest), manifest["spec"]["template"]["spec"]
    security = {**pod.get("securityContext", {}), **first["securityContext"]}
    if not security.get("readOnlyRootFilesystem") or security.get("allowPrivilegeEscalation") is not False:
        raise LabError(
            "the container may write its file system or gain privileges; "
            "set readOnlyRootFilesystem: true and allowPrivilegeEscalation: false"
        )
    environment = {entry["name"]: _value(entry, fields or {}) for entry in first.get("env", ())}
    if api:
        environment |= {"KUBERNETES_SERVICE_HOST": api[0], "KUBERNETES_SERVICE_PORT": str(api[1])}
    user = f"{security['runAsUser']}:{security.get('runAsGroup', security['runAsUser'])}"
    return command(
        rootfs,
        {**config, "User": user},
        arguments=arguments([*first.get("args", config.get("Cmd", ()))]),
        environment=environment,
        binds=[*_binds(first, pod, folders), *([Bind(account, ACCOUNT)] if account else [])],
        capabilities=capabilities(manifest),
    )


def _binds(first: Mapping[str, Any], pod: Mapping[str, Any], folders: Mapping[str, Path]) -> list[Bind]:
    volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
    binds = []
    for mount in first.get("volumeMounts", ()):
        name = mount["name"]
        host = volumes[name].get("hostPath", {}).get("path")
        if host is None and name not in folders:
            raise LabError(f"volume {name} is not a hostPath; pass a folder for it in folders")
        source = folders.get(name) or Path(host)
        binds.append(Bind(source, mount["mountPath"], writable=not mount.get("readOnly", False)))
    return binds


def _value(entry: Mapping[str, Any], fields: Mapping[str, str]) -> str:
    if "value" in entry:
        return str(entry["value"])
    field = entry["valueFrom"]["fieldRef"]["fieldPath"]
    if field not in fields:
        raise LabError(f"the manifest needs the field {field}; pass it in fields")
    return fields[field]


def without(given: Sequence[str], *prefixes: str) -> list[str]:
    """Arguments but those that begin with one of ``prefixes``."""
    return [argument for argument in given if not argument.startswith(prefixes)]
