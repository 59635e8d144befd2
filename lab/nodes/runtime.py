# SPDX-License-Identifier: Apache-2.0
"""The effects of one pod: its addresses, its namespace, its process.

Enters: plans. Leaves: a Sandbox (where a pod lives) and a ContainerProcess (its running process). Guarantees: a
container ends with the thread that started it, so it never outlives the lab's nodes. An address that became free
is used again as late as possible.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.network import addresses, netns, pods
from lab.nodes.plan import Placement, PodPlan, command, environment
from lab.nodes.registration import NodeDescription

PASSED_ON: Final = ("PATH", "HOME", "LANG")
"""Environment variables of this process that every container gets besides its own."""

CONCURRENT_SETUPS: Final = 4
"""Namespaces made at the same time. More would wait for the kernel's network lock."""


class AddressPool:
    """The pod numbers of one node, the longest unused first."""

    def __init__(self) -> None:
        self._free = deque(range(245))
        self._lock = threading.Lock()

    def take(self) -> int:
        """A free number; IndexError when there is none (a node takes fewer pods than it has numbers)."""
        with self._lock:
            return self._free.popleft()

    def give_back(self, number: int) -> None:
        with self._lock:
            self._free.append(number)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where a pod's process runs. ``link`` is None, and ``number`` means nothing, for host-network pods."""

    namespace: str
    placement: Placement
    link: pods.PodLink | None = None
    number: int = -1


class ContainerProcess:
    """A started process; wait for it with poll(2) on ``pidfd``."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.started = time.time()
        self.pidfd = os.pidfd_open(popen.pid)

    def signal(self, number: int) -> None:
        """Send ``number`` to the first process alone, as a container's init gets the stop signal."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def exited(self, timeout: float) -> bool:
        """Whether it ends within ``timeout`` seconds."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return bool(poller.poll(max(0.0, timeout) * 1000))

    def finish(self) -> int:
        """Kill what is left of its process group and wait for it. Returns the exit code, negative for a signal."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        code = self._popen.wait()
        os.close(self.pidfd)
        return code


class PodRuntime:
    """Makes and removes what pods live in. Used by many threads at once."""

    def __init__(self, lab_id: str, directory: Path, nodes: dict[str, NodeDescription]) -> None:
        self._lab_id, self._logs, self._nodes = lab_id, directory / "pods", nodes
        self._pools = {name: AddressPool() for name in nodes}
        self._setups = threading.BoundedSemaphore(CONCURRENT_SETUPS)
        self._base = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._logs.mkdir(parents=True, exist_ok=True)

    def node_namespace(self, node: str) -> str:
        return f"tf-{self._lab_id}-{node}"

    def host_only(self, plan: PodPlan) -> Placement:
        """The placement of a pod that has no address of its own (yet)."""
        return Placement((), self._nodes[plan.node].ips)

    def setup(self, plan: PodPlan) -> Sandbox:
        """A place for the pod. Raises LabError when the network refuses, IndexError when addresses ran out."""
        node = self._nodes[plan.node]
        if plan.host_network:
            return Sandbox(self.node_namespace(plan.node), Placement(node.ips, node.ips))
        number = self._pools[plan.node].take()
        try:
            v4, v6 = addresses.pod_addresses(node.index, number)
            link = pods.plan(self._lab_id, self.node_namespace(plan.node), plan.uid, v4, v6)
            with self._setups:
                pods.destroy(link)  # left by an earlier process, if any
                pods.create(link)
        except BaseException:
            self._pools[plan.node].give_back(number)
            raise
        return Sandbox(link.namespace, Placement((v4, v6), node.ips), link, number)

    def start(self, plan: PodPlan, sandbox: Sandbox) -> ContainerProcess:
        """Run the pod's command in ``sandbox``. Raises OSError when a log or program cannot be opened."""
        env = environment(plan, sandbox.placement)
        # setpriv (util-linux): the kernel kills the process when this thread ends, however it ends.
        argv = ["setpriv", "--pdeathsig", "KILL", *netns.command(sandbox.namespace, command(plan, env))]
        with (self._logs / f"{plan.namespace}_{plan.name}.log").open("ab") as log:
            return ContainerProcess(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=plan.working_directory,
                    env=self._base | env,
                    process_group=0,
                )
            )

    def remove(self, plan: PodPlan, sandbox: Sandbox) -> None:
        """End everything inside a pod's own namespace and give its addresses back."""
        if sandbox.link is not None:
            pods.destroy(sandbox.link)
            self._pools[plan.node].give_back(sandbox.number)
