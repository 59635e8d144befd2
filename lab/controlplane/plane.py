# SPDX-License-Identifier: Apache-2.0
"""A running control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

Enters: the programs, a directory, a network namespace. Leaves: a ready API and an admin kubeconfig. Guarantees:
``start`` returns when the API server is ready. ``stop`` ends everything that was started. An error about a
component shows the last lines of its log. Readiness is checked on loopback, so call from inside the namespace.
"""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lab.controlplane import commands, kubeconfig, pins, pki
from lab.controlplane.assets import Found
from lab.errors import LabError
from lab.processes import Process, start

READY_SECONDS: Final = 90.0
"""Longest wait for one component; the usual is 3 s, and a busy machine may need ten times that."""

# SIGTERM makes the API server drain and the others hand over; nobody waits for a lab that ends.
_STOP_GRACE: Final = 2.0


class ControlPlane:
    """The four components, each startable and stoppable alone."""

    def __init__(
        self, programs: Mapping[str, Found], directory: Path, netns: str,
        *, audit: bool = False, kubelets: bool = False,
    ) -> None:  # fmt: skip
        self._programs = {name: found.path for name, found in programs.items()}
        self._dir = directory
        self._netns = netns
        self._audit = audit
        self._kubelets = kubelets
        self._running: dict[str, Process] = {}
        self.pki = pki.create(directory / "pki", commands.SERVER_NAMES)
        if kubelets:
            pki.issue_client(self.pki, pki.KUBELET_CLIENT, "/O=system:masters/CN=kube-apiserver-kubelet-client")
        self.admin = self._certificate_kubeconfig(pki.ADMIN)
        self._controller_manager_kubeconfig = self._certificate_kubeconfig(pki.CONTROLLER_MANAGER)
        self.scheduler_kubeconfig = self._certificate_kubeconfig(pki.SCHEDULER)

    @property
    def kubectl(self) -> Path:
        return self._programs[pins.KUBECTL]

    def log(self, component: str) -> Path:
        return self._dir / "logs" / f"{component}.log"

    def start(self) -> None:
        """Start etcd, the API server (until it is ready), the controller manager. Raises LabError."""
        # Both at once: the API server tries again until etcd is there.
        self._start(pins.ETCD, commands.etcd(self._programs[pins.ETCD], self._dir / "etcd"))
        self.start_apiserver()
        program = self._programs[pins.KUBE_CONTROLLER_MANAGER]
        self._start(
            pins.KUBE_CONTROLLER_MANAGER,
            commands.controller_manager(program, self.pki, self._controller_manager_kubeconfig),
        )

    def wait_controllers(self) -> None:
        """Until the controller manager answers. Raises LabError."""
        process = self._running[pins.KUBE_CONTROLLER_MANAGER]
        process.wait_ready(answers(commands.CONTROLLER_MANAGER_HEALTH, None), READY_SECONDS)

    def start_apiserver(self) -> None:
        """Start it and wait until it is ready. Raises LabError."""
        argv = commands.apiserver(self._programs[pins.KUBE_APISERVER], self.pki, kubelets=self._kubelets)
        if self._audit:
            policy = self._dir / "audit-policy.json"
            policy.write_text(json.dumps(commands.audit_policy()))
            argv += commands.audit(policy, self.log("audit"))
        process = self._start(pins.KUBE_APISERVER, argv)
        process.wait_ready(answers(f"{commands.LOCAL_SERVER}/readyz", self.pki.ca), READY_SECONDS)

    def start_scheduler(self, config: str, flags: Sequence[str] = ()) -> None:
        """Start kube-scheduler with ``config`` (the file's text) and wait until it is ready. Raises LabError."""
        path = self._dir / "kube-scheduler-config.yaml"
        path.write_text(config)
        argv = commands.scheduler(self._programs[pins.KUBE_SCHEDULER], path, self.scheduler_kubeconfig)
        process = self._start(pins.KUBE_SCHEDULER, [*argv, *flags])
        process.wait_ready(answers(commands.SCHEDULER_HEALTH, None), READY_SECONDS)

    def stop_component(self, component: str, sig: int = signal.SIGTERM) -> None:
        """Stop one; nothing happens when it does not run."""
        process = self._running.pop(component, None)
        if process is not None:
            process.stop(sig, _STOP_GRACE)

    def send(self, component: str, sig: int) -> None:
        """Send ``sig`` to one that runs. After SIGSTOP it takes connections and does not respond."""
        self._running[component].send(sig)

    def compact_etcd(self) -> int:
        """Make etcd forget every revision before the current one, as the API server does. Returns the current one.

        Raises LabError when etcd refuses.
        """
        revision = int(_etcd("kv/range", {"key": "AA=="})["header"]["revision"])
        _etcd("kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def scheduler_metrics(self) -> str | None:
        """kube-scheduler's Prometheus page, as the administrator.

        None while it is away, or does not know yet who may read it: it learns that from the API server.
        """
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # its certificate is its own, and this is loopback
        context.load_cert_chain(self.pki.certificate(pki.ADMIN), self.pki.key(pki.ADMIN))
        url = commands.SCHEDULER_METRICS
        try:
            with urllib.request.urlopen(url, timeout=10, context=context) as response:  # noqa: S310 - our own URL
                page: bytes = response.read()
        except (OSError, http.client.HTTPException):
            return None
        return page.decode()

    def ended(self) -> list[str]:
        """Components that ended without having been stopped."""
        return [name for name, process in self._running.items() if not process.running]

    def stop(self) -> None:
        """Stop everything, clients before servers."""
        for component in (pins.KUBE_SCHEDULER, pins.KUBE_CONTROLLER_MANAGER, pins.KUBE_APISERVER, pins.ETCD):
            self.stop_component(component)

    def token_kubeconfig(self, name: str, token: str, server: str) -> Path:
        """A kubeconfig for ``server`` with a service account's ``token``."""
        return kubeconfig.write(
            self._dir / f"{name}.kubeconfig", server=server, ca=self.pki.ca, user=kubeconfig.token_user(token)
        )

    def client_kubeconfig(self, name: str, subject: str, server: str) -> Path:
        """A kubeconfig for ``server`` with a new certificate of ``subject``, such as ``/O=GROUP/CN=USER``."""
        pki.issue_client(self.pki, name, subject)
        return self._certificate_kubeconfig(name, server)

    def _certificate_kubeconfig(self, name: str, server: str = commands.LOCAL_SERVER) -> Path:
        user = kubeconfig.certificate_user(self.pki.certificate(name), self.pki.key(name))
        path = self._dir / f"{name}.kubeconfig"
        return kubeconfig.write(path, server=server, ca=self.pki.ca, user=user)

    def _start(self, component: str, argv: list[str]) -> Process:
        self.stop_component(component)
        process = start(argv, log=self.log(component), name=component, netns=self._netns)
        self._running[component] = process
        return process


def _etcd(action: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """etcd's JSON gateway."""
    call = urllib.request.Request(  # noqa: S310 - the lab's own etcd
        f"{commands.ETCD_URL}/v3/{action}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(call, timeout=30) as response:  # noqa: S310
            result: dict[str, Any] = json.loads(response.read())
    except OSError as error:
        raise LabError(f"etcd does not respond to {action}: {error}; its log may say why") from error
    return result


def answers(url: str, ca: Path | None) -> Callable[[], bool]:
    """A probe of whether ``url`` responds with 200. Without ``ca`` no certificate is checked: loopback only."""
    context: ssl.SSLContext | None = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=ca)
        if ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE

    def probe() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5, context=context) as response:  # noqa: S310 - our own URLs
                return bool(response.status == 200)
        except (OSError, http.client.HTTPException):  # refused, not yet 200, cut off while starting
            return False

    return probe
