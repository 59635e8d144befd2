# SPDX-License-Identifier: Apache-2.0
"""One real node: what it lives in, and containerd, kubelet and kube-proxy, each startable and stoppable alone.

Enters: programs, credentials, a network namespace on the fabric. Leaves: a node that registers itself.
Guarantees: ``stop`` ends every process of the node, pods' included, and removes its cgroups. Its mounts go with
its last process.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.machine import cgroups
from lab.network import addresses
from lab.network.fabric import NodeSpec
from lab.nodes.real import files, kuberouter, network, pins
from lab.processes import Process, start

SCRIPT: Final = Path(__file__).with_name("node.sh")
_HOLD_SECONDS: Final = 30.0
_CONTAINERD_SECONDS: Final = 90.0
_GRACE: Final = 5.0
_PLUGINS: Final = "cni/10-pods.conflist"


@dataclass(frozen=True)
class Credentials:
    """What a node proves itself with."""

    kubelet: Path
    """kubeconfig of ``system:node:NAME``."""
    kube_proxy: Path
    """kubeconfig of ``system:kube-proxy``."""
    ca: Path
    """Signs the certificates of those who may ask the kubelet."""


class Node:
    """A node of a lab. ``others`` are the indices of the lab's other nodes."""

    def __init__(
        self,
        spec: NodeSpec,
        prefix: str,
        *,
        programs: Mapping[str, Path],
        credentials: Credentials,
        run: Path,
        data: Path,
        logs: Path,
        others: Sequence[int],
        proxy_mode: str,
        network: str,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.cgroup = prefix + spec.name
        """Name of its cgroups, and of its network namespace."""
        self._programs, self._credentials, self._proxy_mode = programs, credentials, proxy_mode
        self._network, self._others = network, others
        self._run, self._data, self._logs = run / spec.name, data / spec.name, logs
        self._places = files.Places(self._run, programs[pins.RUNC], programs["bridge"].parent)
        self.plugins = self._run / _PLUGINS
        """The network plugins' configuration. containerd reads it anew when it changes."""
        self._procs: list[Path] = []
        self._holder: Process | None = None
        self._running: dict[str, Process] = {}

    # -- coming and going ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everything; returns when kubelet runs, a second or two before the node is Ready."""
        self.hold()
        self.start_containerd()
        self.start_kubelet()
        self.start_kube_proxy()

    def hold(self) -> None:
        """Make what the node lives in: cgroups, mounts, its network's settings, files. Raises LabError."""
        self._procs = cgroups.create(self.cgroup)
        network.prepare(self.cgroup, self.spec.index, self._network, self._others)
        self._write_files()
        argv: list[str | Path] = [
            "nsenter", f"--net=/run/netns/{self.cgroup}",
            "unshare", "--mount", "--uts", "--propagation", "private",
            "sh", SCRIPT, "hold", self.name, self._data, self._run, *self._procs,
        ]  # fmt: skip
        self._holder = start(argv, log=self._logs / f"node-{self.name}.log", name=f"node {self.name}")
        self._holder.wait_ready((self._run / "held").exists, _HOLD_SECONDS)

    def stop(self) -> None:
        """End everything of the node; may be called at any time, repeatedly."""
        for program in (pins.KUBELET, pins.KUBE_PROXY, pins.KUBE_ROUTER):
            self.stop_program(program)
        cgroups.destroy(self.cgroup)
        for process in (*self._running.values(), *([self._holder] if self._holder else [])):
            process.stop(signal.SIGKILL)
        self._running.clear()
        self._holder = None

    def watch(self) -> None:
        """Called while the node is awaited. Raises LabError when it cannot come any more."""

    def ended(self) -> list[str]:
        """Programs of the node that ended without having been stopped."""
        return [process.name for process in self._running.values() if not process.running]

    # -- its programs --------------------------------------------------------------------------------------------

    def start_containerd(self) -> None:
        """Start containerd and wait until it takes requests. Raises LabError."""
        argv: list[str | Path] = [self._programs[pins.CONTAINERD], "--config", self._run / "containerd.toml"]
        process = self._start(pins.CONTAINERD, argv)
        process.wait_ready(self._containerd_listens, _CONTAINERD_SECONDS)

    def start_kubelet(self) -> None:
        """Start kubelet; returns at once."""
        index = self.spec.index
        argv: list[str | Path] = [
            self._programs[pins.KUBELET],
            f"--config={self._run / 'kubelet.json'}",
            f"--kubeconfig={self._credentials.kubelet}",
            f"--hostname-override={self.name}",
            f"--node-ip={addresses.node_v4(index)},{addresses.node_v6(index)}",
        ]
        self._start(pins.KUBELET, argv)

    def start_kube_proxy(self) -> None:
        """Start kube-proxy; returns at once."""
        self._start(
            pins.KUBE_PROXY, [self._programs[pins.KUBE_PROXY], f"--config={self._run / 'kube-proxy.json'}"]
        )

    def start_kube_router(self, kubeconfig: Path) -> None:
        """Start kube-router, whose routes come with time: see ``routed``. The Node has its pods' ranges by now."""
        table = self._run / kuberouter.ROUTE_TABLES.name
        if not table.exists():  # the machine's own stays as it is
            shutil.copy(kuberouter.ROUTE_TABLES, table)
            self.run(["mount", "--bind", table, kuberouter.ROUTE_TABLES])
        shim = self._run / "shims" / kuberouter.RESTORE
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(kuberouter.restore(shutil.which(kuberouter.RESTORE) or kuberouter.RESTORE))
        shim.chmod(0o755)
        path = f"{shim.parent}:{self._env()['PATH']}"
        program = self._programs[pins.KUBE_ROUTER]
        self._start(pins.KUBE_ROUTER, kuberouter.command(program, self.name, kubeconfig, self.plugins, path))

    def routed(self) -> bool:
        """Whether BGP has brought routes to the pods of all other nodes. Raises LabError."""
        shown = "".join(self.run(kuberouter.shown_routes(family)) for family in ("-4", "-6"))
        return kuberouter.all_learned(shown, self._others)

    def stop_program(self, program: str, sig: int = signal.SIGTERM) -> None:
        """Stop one; nothing happens when it does not run. Pods and their shims go on."""
        process = self._running.pop(program, None)
        if process is not None:
            process.send(sig)
            with suppress(LabError):
                process.wait(_GRACE)
            process.stop(signal.SIGKILL)

    def run(self, argv: Sequence[str | Path], timeout: float = 60.0) -> str:
        """What a command prints inside the node: its network, mounts and name. Raises LabError."""
        try:
            done = subprocess.run(
                self._inside(argv), capture_output=True, text=True, check=False, timeout=timeout, env=self._env()
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{argv[0]} has not ended after {timeout:g} s on {self.name}") from error
        if done.returncode:
            raise LabError(f"{' '.join(map(str, argv))} failed on {self.name}: {done.stderr.strip()}")
        return done.stdout

    def crictl(self, *arguments: str) -> str:
        """What crictl prints on the node. Raises LabError."""
        endpoint = f"unix://{files.CONTAINERD_SOCKET}"
        return self.run([self._programs[pins.CRICTL], "--runtime-endpoint", endpoint, *arguments])

    # -- parts ---------------------------------------------------------------------------------------------------

    def _start(self, program: str, argv: Sequence[str | Path]) -> Process:
        self.stop_program(program)
        name = f"{program}-{self.name}"
        process = start(self._inside(argv), log=self._logs / f"{name}.log", name=name, env=self._env())
        self._running[program] = process
        return process

    def _inside(self, argv: Sequence[str | Path]) -> list[str]:
        if self._holder is None:
            raise LabError(f"node {self.name} does not run; start it first")
        return ["sh", str(SCRIPT), "run", str(self._holder.pid), *map(str, self._procs), "--", *map(str, argv)]

    def _env(self) -> dict[str, str]:
        folders = {str(self._programs[name].parent) for name in (pins.CONTAINERD, pins.SHIM, pins.RUNC)}
        return {**os.environ, "PATH": ":".join([*sorted(folders), os.environ.get("PATH", "/usr/sbin:/usr/bin")])}

    def _containerd_listens(self) -> bool:
        if self._holder is None:
            return False
        path = f"/proc/{self._holder.pid}/root{files.CONTAINERD_SOCKET}"
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
            except OSError:
                return False
        return True

    def _texts(self, ca: Path, kube_proxy: Path, cgroup: str | None) -> dict[str, str]:
        """What the programs read, by path below the folder that they read it from."""
        texts = files.node_files(
            self._places, self.name, self.spec.index, ca=ca, kubeconfig=kube_proxy, cgroup=cgroup,
            proxy_mode=self._proxy_mode, mtu=network.MTU[self._network],
        )  # fmt: skip
        if self._network == network.KUBE_ROUTER:
            texts[_PLUGINS] = kuberouter.cni()
        return texts

    def _write_files(self) -> None:
        (self._run / "volume-plugins").mkdir(parents=True)
        self._data.mkdir(parents=True)
        for path, text in self._texts(self._credentials.ca, self._credentials.kube_proxy, self.cgroup).items():
            place = self._run / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
