# SPDX-License-Identifier: Apache-2.0
"""Containers without images: what a Pod of the API says of its only container, as a process of this machine.

Enters: a bound Pod as the API server has it. Leaves: its program in a network namespace of the lab, with the Pod's
own arguments, environment, capabilities and service account's token (bound to that Pod, as a kubelet's are), and
with its ConfigMaps and Secrets at the paths it asks for, everything else read-only where it says so. Only the
image is replaced, by the program that its entry point names. Mounts are its own and end with it.
"""

from __future__ import annotations

import base64
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from footprint.cluster.client import request
from lab import manifests, programs
from lab.controlplane import build, commands, pins
from lab.controlplane import readiness as cluster
from lab.lab import Lab
from lab.processes import Process

API: Final = "/api/v1"
TOKEN_DIRECTORY: Final = "/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_CAPABILITIES: Final = {"NET_ADMIN": 12, "SYS_ADMIN": 21, "PERFMON": 38, "BPF": 39}
_SCRATCH: Final = "/tmp"  # noqa: S108 - an emptyDir's usual place
_HOST: Final = ("/proc/sys/net/netfilter",)
"""Host paths that mean the same here; a node's /sys/fs/bpf is this machine's own, and left alone."""

Object = dict[str, Any]


def entry_point(image: str) -> list[str]:
    """What the image would run before the container's arguments."""
    repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    known = {"nodeagent": "traffic-footprint-nodeagent", "extender": "traffic-footprint-extender"}
    return [programs.console_script(known[repository])] if repository in known else []


def command_of(container: Mapping[str, Any]) -> list[str]:
    """The whole command line: a container's command replaces the image's entry point."""
    command = list(container.get("command") or entry_point(container["image"]))
    if command[0] == pins.KUBE_SCHEDULER:
        command[0] = str(build.ensure()[pins.KUBE_SCHEDULER].path)
    return [*command, *(container.get("args") or [])]


@dataclass
class Container:
    """One container; ``start`` it once."""

    lab: Lab
    pod: Object
    directory: Path
    """An empty one, for what is mounted."""
    netns: str
    """Suffix of the lab's namespace that it runs in."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """What the cluster's DNS would say: name to address."""

    @property
    def name(self) -> str:
        name: str = self.pod["metadata"]["name"]
        return name

    def start(self) -> Process:
        """Run it; its log is ``lab.logs(name of the Pod)``."""
        [container] = self.pod["spec"]["containers"]
        mounts = {TOKEN_DIRECTORY: self._service_account(), "/etc": self._etc()}
        for mount in container.get("volumeMounts") or []:
            [volume] = [v for v in self.pod["spec"]["volumes"] if v["name"] == mount["name"]]
            source = self._volume(volume)
            if source is not None:
                mounts[mount["mountPath"]] = source
        argv = ["sh", "-c", self._script(mounts, container), "container", *command_of(container)]
        env = self._environment(container)
        return self.lab.spawn_in(self.netns, argv, name=self.name, env=env)

    def _script(self, mounts: Mapping[str, Path], container: Mapping[str, Any]) -> str:
        """Mount everything, give up what the container may not do, become the program."""
        lines = ["set -e", "mount --make-rprivate /", "mount -t tmpfs -o mode=755 tmpfs /run"]
        # /etc before what is in it; /tmp last, since what is mounted comes from there.
        for target in sorted(mounts, key=lambda path: (path == _SCRATCH, len(path))):
            lines.append(f"mkdir -p {shlex.quote(target)}")
            if target == _SCRATCH and manifests.CHECKOUT.is_relative_to(_SCRATCH):
                # What stands in for the image is the checkout: it must not vanish below the new /tmp.
                within = mounts[target] / manifests.CHECKOUT.relative_to(_SCRATCH)
                lines.append(f"mkdir -p {shlex.quote(str(within))}")
                lines.append(f"mount --bind {shlex.quote(str(manifests.CHECKOUT))} {shlex.quote(str(within))}")
            lines.append(f"mount --rbind {shlex.quote(str(mounts[target]))} {shlex.quote(target)}")
        if container["securityContext"]["readOnlyRootFilesystem"]:
            lines.append("mount -o remount,bind,ro /")
        added = (container["securityContext"]["capabilities"].get("add")) or []
        kept = "".join(f",+cap_{_CAPABILITIES[name]}" for name in added)
        lines.append(f'exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all{kept} "$@"')
        return "\n".join(lines)

    def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        host, _, port = commands.NODE_SERVER.removeprefix("https://").rpartition(":")
        env = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        fields = {
            "spec.nodeName": self.pod["spec"]["nodeName"],
            "status.hostIP": self.pod.get("status", {}).get("hostIP", ""),
        }
        for variable in container.get("env") or []:
            source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            env[variable["name"]] = fields[source] if source else variable["value"]
        return env

    def _service_account(self) -> Path:
        directory = self.directory / "serviceaccount"
        directory.mkdir(parents=True)
        spec, meta = self.pod["spec"], self.pod["metadata"]
        path = f"{API}/namespaces/{meta['namespace']}/pods/{meta['name']}"
        bound = cluster.reference(self.lab.api, "Pod", path)
        token = cluster.token(self.lab.api, meta["namespace"], spec["serviceAccountName"], bound)
        (directory / "token").write_text(token)
        (directory / "namespace").write_text(meta["namespace"])
        authority = request(
            self.lab.api, "GET", f"{API}/namespaces/{meta['namespace']}/configmaps/kube-root-ca.crt"
        )
        (directory / "ca.crt").write_text(authority["data"]["ca.crt"])
        return directory

    def _etc(self) -> Path:
        """A copy of /etc in which further names are known and mount points can be made."""
        directory = self.directory / "etc"
        shutil.copytree("/etc", directory, symlinks=True)
        lines = [f"{address} {name}\n" for name, address in self.addresses.items()]
        with (directory / "hosts").open("a") as hosts:
            hosts.writelines(lines)
        return directory

    def _volume(self, volume: Object) -> Path | None:
        """What to mount; None for the node's own paths that are left alone."""
        directory: Path = self.directory / volume["name"]
        space = f"{API}/namespaces/{self.pod['metadata']['namespace']}"
        if "secret" in volume:
            secret = request(self.lab.api, "GET", f"{space}/secrets/{volume['secret']['secretName']}")
            contents = {key: base64.b64decode(value) for key, value in secret["data"].items()}
        elif "configMap" in volume:
            config = request(self.lab.api, "GET", f"{space}/configmaps/{volume['configMap']['name']}")
            contents = {key: value.encode() for key, value in config["data"].items()}
        elif "emptyDir" in volume:
            contents = {}
        elif (path := volume.get("hostPath", {}).get("path")) in _HOST:
            return Path(str(path))
        else:
            return None
        directory.mkdir()
        for key, value in contents.items():
            (directory / key).write_bytes(value)
        return directory
