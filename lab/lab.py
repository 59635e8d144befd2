# SPDX-License-Identifier: Apache-2.0
"""A whole cluster on one machine as a context manager: fabric, control plane, nodes, agents, extender.

Enters: a LabConfig. Leaves: a ready cluster and handles on every part of it. Guarantees: processes, namespaces and
files are gone after the block, whatever ended it (an exception, Ctrl-C, SIGTERM, SIGHUP). After a SIGKILL the next
start removes them.

The API server can be reached only inside the lab's own namespaces. So entering a lab moves the *calling thread*
into the control plane's network namespace, and leaving moves it back. Threads that start in between inherit the
namespace. Enter and leave on one thread, the one that lives longest.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from kubernetes.client import ApiClient

from footprint.cluster.client import ApiError, connect, request
from lab import preconditions, programs, state
from lab.config import LabConfig
from lab.controlplane import build, commands, pins, scheduler_config
from lab.controlplane import readiness as cluster
from lab.controlplane.assets import Found
from lab.controlplane.plane import ControlPlane, answers
from lab.errors import LabError
from lab.network import conntrack_table, netns
from lab.network.fabric import Fabric
from lab.processes import POLL_SECONDS, Process, start, stop_all
from lab.signals import signals_end, uninterrupted

__all__ = ["Lab", "LabConfig"]

_READY_SECONDS: Final = 60.0
_AGENT_GRACE: Final = 6.0  # an agent may take 5 s for its last publish
_END_GRACE: Final = 2.0
_KUBECTL_SECONDS: Final = 120.0
_EXTENDER: Final = "extender"
_NODES: Final = "nodes"
_AGENT_PREFIX: Final = "nodeagent-"


class Lab:
    """A cluster that exists between ``__enter__`` and ``__exit__``."""

    _kubelets: ClassVar = False
    """Whether the nodes run kubelets, which the API server then reaches and holds to their own objects."""

    def __init__(self, config: LabConfig | None = None) -> None:
        self.config = config or LabConfig()
        self.id = ""
        self.dir = Path()
        self._stack = ExitStack()
        self._processes: dict[str, Process] = {}
        self._nodes = {node.name: node for node in self.config.node_specs}

    def __enter__(self) -> Self:
        binaries = self._prepare()
        state.clean_leftovers()
        self._stack.enter_context(signals_end())
        try:
            self._up(binaries)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def node_names(self) -> list[str]:
        """``node1`` to ``nodeN``."""
        return list(self._nodes)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for use inside the control plane's namespace."""
        return self._plane.admin

    @property
    def api(self) -> ApiClient:
        """The administrator's client of the API server; its certificate is verified."""
        return self._api

    @property
    def kubectl_path(self) -> Path:
        return self._plane.kubectl

    @property
    def cp_namespace(self) -> str:
        """The network namespace of the control plane and of this thread."""
        return self._fabric.cp_namespace

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """What kubectl prints, as the administrator. Raises LabError with what it says when it fails."""
        argv = [str(self.kubectl_path), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = self.exec_in("cp", argv, input=input, timeout=_KUBECTL_SECONDS)
        if done.returncode:
            raise LabError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def logs(self, component: str) -> Path:
        """The log of ``etcd``, ``kube-...``, ``nodes``, ``extender``, ``nodeagent-NODE`` or something spawned."""
        return self.dir / "logs" / f"{component}.log"

    @property
    def audit_log(self) -> Path:
        """The requests of service accounts to the API server, one JSON object a line; with ``audit`` only."""
        return self.logs("audit")

    def pod_log(self, namespace: str, name: str) -> str:
        """What a pod has printed so far; empty when it has printed nothing yet."""
        path = self.dir / "pods" / f"{namespace}_{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ended(self) -> list[str]:
        """Components that ended without having been stopped."""
        return self._plane.ended() + [name for name, process in self._processes.items() if not process.running]

    def lost(self) -> list[str]:
        """A line for each component that ended without having been stopped: it does not come back by itself."""
        own = {name: process for name, process in self._processes.items() if self._is_component(name)}
        ended = self._plane.ended() + [name for name, process in own.items() if not process.running]
        return [f"{name} has ended; the last lines of its log say why: {self.logs(name)}" for name in ended]

    def unready(self) -> list[str]:
        """A line for each node that takes no pods, or one for the API server when it does not respond."""
        try:
            return cluster.unready_nodes(self._api, self.node_names)
        except ApiError as error:
            return [f"the API server does not respond: {error}"]

    @staticmethod
    def _is_component(name: str) -> bool:
        return name in (_NODES, _EXTENDER) or name.startswith(_AGENT_PREFIX)

    def create_namespace(self, name: str) -> None:
        """A namespace that takes pods. Raises ApiError, LabError."""
        request(self._api, "POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
        self._wait(lambda: cluster.pods_admitted(self._api, name), f"the default service account of {name}")

    def exec_in(
        self,
        suffix: str,
        argv: Sequence[str],
        *,
        input: str | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` to its end in namespace ``tf-<id>-<suffix>``, such as ``outside`` or ``node1``.

        Raises LabError when it has not ended after ``timeout`` seconds (it is killed then).
        """
        command = netns.command(self._namespace(suffix), list(argv))
        try:
            return subprocess.run(
                command, input=input, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{' '.join(argv)} has not ended after {timeout:g} s in {suffix}") from error

    def spawn_in(
        self, suffix: str, argv: Sequence[str], *, name: str, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start ``argv`` in ``tf-<id>-<suffix>``, stopped with the lab at the latest; log: ``logs(name)``."""
        if name in self._processes and self._processes[name].running:
            raise LabError(f"{name} runs already; stop it first or use another name")
        process = start(argv, log=self.logs(name), name=name, netns=self._namespace(suffix), env=env)
        self._processes[name] = process
        return process

    # -- parts that tests stop and start --------------------------------------------------------------------------

    def start_agent(self, node: str, *, env: Mapping[str, str] | None = None) -> Process:
        """Start the agent of ``node``; returns at once (it publishes when it has measured)."""
        argv = programs.agent(
            self._nodes[node], self._agent_kubeconfigs[node], self.config.agent_args,
            stated=self.config.link_stated,
        )  # fmt: skip
        return self.spawn_in(node, argv, name=f"{_AGENT_PREFIX}{node}", env=env)

    def stop_agent(self, node: str, sig: int = signal.SIGTERM) -> int:
        """Stop the agent of ``node`` with ``sig``; returns its exit status (negative: a signal ended it)."""
        return self._stop(f"{_AGENT_PREFIX}{node}", sig)

    def start_extender(self) -> Process:
        """Start the extender and wait until it is ready. Raises LabError."""
        argv = programs.extender(self._extender_kubeconfig, self.config.extender_args)
        process = self.spawn_in("cp", argv, name=_EXTENDER)
        process.wait_ready(answers(f"{programs.EXTENDER_URL}/readyz", None), _READY_SECONDS)
        return process

    def stop_extender(self, sig: int = signal.SIGTERM) -> int:
        """Stop the extender with ``sig``; returns its exit status."""
        return self._stop(_EXTENDER, sig)

    def start_replica(
        self, name: str, port: int, extra: Sequence[str] = (), *, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start one more extender, called ``name``, on ``port`` of loopback; returns at once."""
        argv = programs.extender(self._extender_kubeconfig, extra, port)
        return self.spawn_in("cp", argv, name=name, env=env)

    def stop_replica(self, name: str, sig: int = signal.SIGTERM) -> int:
        """Stop what ``start_replica`` started; returns its exit status."""
        return self._stop(name, sig)

    def start_scheduler(
        self, *, extender: bool | None = None, changes: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None, flags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Start kube-scheduler, with the extender in its configuration or not (None: as the lab is configured).

        ``settings`` replace values of that configuration, ``changes`` those of its entry for the extender;
        ``flags`` are further ones of the program.
        """
        wired = self.config.extender if extender is None else extender
        shipped = scheduler_config.shipped()
        text = scheduler_config.render(
            {
                **shipped,
                **(settings or {}),
                "extenders": [{**entry, **(changes or {})} for entry in shipped["extenders"]],
            },
            kubeconfig=self._plane.scheduler_kubeconfig,
            extender_url=(changes or {}).get("urlPrefix", programs.EXTENDER_URL) if wired else None,
            weight=self.config.extender_weight,
        )
        self._plane.start_scheduler(text, flags)

    def scheduler_metrics(self) -> str:
        """kube-scheduler's Prometheus page, once it responds. Raises LabError."""
        page = ""

        def read() -> bool:
            nonlocal page
            page = self._plane.scheduler_metrics() or ""
            return bool(page)

        self._wait(read, "kube-scheduler's metrics")
        return page

    def stop_scheduler(self) -> None:
        self._plane.stop_component(pins.KUBE_SCHEDULER)

    def stop_apiserver(self, sig: int = signal.SIGTERM) -> None:
        """The API goes away; everything else goes on."""
        self._plane.stop_component(pins.KUBE_APISERVER, sig)

    def start_apiserver(self) -> None:
        """The API comes back; returns when it is ready."""
        self._plane.start_apiserver()

    @contextmanager
    def apiserver_paused(self) -> Iterator[None]:
        """Within this block the API server takes connections and does not respond."""
        self._plane.send(pins.KUBE_APISERVER, signal.SIGSTOP)
        try:
            yield
        finally:
            self._plane.send(pins.KUBE_APISERVER, signal.SIGCONT)

    def compact_etcd(self) -> int:
        """etcd forgets what was before; the revision that is left."""
        return self._plane.compact_etcd()

    def restart_apiserver(self) -> None:
        self.stop_apiserver()
        self.start_apiserver()

    # -- coming up -----------------------------------------------------------------------------------------------

    def _prepare(self) -> Mapping[str, Found]:
        """Check the machine, and find or build the programs, before anything is started. Raises LabError."""
        preconditions.check()
        preconditions.conntrack()
        return build.ensure()

    def _start_control_plane(self, binaries: Mapping[str, Found]) -> None:
        """The fabric, etcd, the API server (ready) and the controller manager. Raises LabError."""
        registered = state.create()
        self.id, self.dir = registered.id, registered.dir
        self._stack.callback(conntrack_table.restore, state.ROOT, state.any_live)  # runs after the lock is free
        self._stack.callback(registered.release)
        conntrack_table.shrink(state.ROOT)
        self._stack.callback(self._keep)
        self._fabric = Fabric(self.id, self.config.node_specs)
        self._stack.callback(self._fabric.destroy)
        self._fabric.create()
        self._stack.callback(netns.leave, netns.enter(self.cp_namespace))
        self._plane = ControlPlane(
            binaries, self.dir, self.cp_namespace, audit=self.config.audit, kubelets=self._kubelets
        )
        self._stack.callback(self._plane.stop)
        self._stack.callback(self._stop_everything)
        self._plane.start()
        self._api = connect(str(self.kubeconfig), user_agent="traffic-footprint-lab")
        self._stack.callback(_close_client, self._api)

    def _up(self, binaries: Mapping[str, Found]) -> None:
        self._start_control_plane(binaries)
        self._start_nodes()
        self.kubectl("apply", "-k", str(programs.MANIFESTS / "base"))
        self._extender_kubeconfig = self._account(programs.EXTENDER_ACCOUNT, commands.LOCAL_SERVER)
        self._plane.wait_controllers()
        self._processes[_NODES].wait_ready(lambda: cluster.nodes_ready(self._api, self._nodes), _READY_SECONDS)
        self._agent_kubeconfigs = {
            node: self._account(programs.AGENT_ACCOUNT, commands.NODE_SERVER, node) for node in self.node_names
        }
        self._wait(lambda: cluster.pods_admitted(self._api), "the default service account")
        if self.config.agents:
            for node in self.node_names:
                self.start_agent(node)
        if self.config.extender:
            self.start_extender()
        self.start_scheduler()
        self._check_alive()

    def _start_nodes(self) -> None:
        nodes = self.dir / "nodes.json"
        nodes.write_text(json.dumps(self.config.node_descriptions()))
        argv = programs.nodes(self.id, self.dir, self.kubeconfig, nodes)
        self.spawn_in("cp", argv, name=_NODES, env={"PYTHONPATH": str(programs.CHECKOUT)})

    def _account(self, account: str, server: str, node: str | None = None) -> Path:
        """A kubeconfig with a fresh token of service account ``account``: RBAC is enforced for it. With ``node``
        the token is bound to it, as those of pods are: policies hold an agent to its own node."""
        bound = cluster.reference(self._api, "Node", f"/api/v1/nodes/{node}") if node else None
        token = cluster.token(self._api, programs.NAMESPACE, account, bound)
        return self._plane.token_kubeconfig(f"{account}-{node}" if node else account, token, server)

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float = _READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(f"{what} did not appear within {seconds:g} s; see {self.dir}/logs")
            time.sleep(POLL_SECONDS)

    def _check_alive(self) -> None:
        for process in self._processes.values():
            process.check()

    # -- going down ----------------------------------------------------------------------------------------------

    def _namespace(self, suffix: str) -> str:
        return self._fabric.prefix + suffix

    def _stop(self, name: str, sig: int) -> int:
        process = self._processes.pop(name, None)
        if process is None:
            raise LabError(f"{name} does not run in lab {self.id}")
        return process.stop(sig, _AGENT_GRACE)

    def _stop_everything(self) -> None:
        """Agents, extender and what was spawned first, the nodes' process after them."""
        nodes = self._processes.pop(_NODES, None)
        stop_all(self._processes.values(), _END_GRACE)
        self._processes.clear()
        if nodes is not None:
            nodes.stop(grace=_END_GRACE)

    def _keep(self) -> None:
        target = self.config.keep_dir
        if target is None:
            return
        for part in ("logs", "pods"):
            if (self.dir / part).is_dir():
                shutil.copytree(self.dir / part, target / part, dirs_exist_ok=True)

    def _close(self) -> None:
        with uninterrupted():
            self._stack.close()


def _close_client(api: ApiClient) -> None:
    api.rest_client.pool_manager.clear()  # idle connections; close() ends the client's threads only
    api.close()
