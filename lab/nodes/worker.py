# SPDX-License-Identifier: Apache-2.0
"""The life of one pod, in a thread of its own that sleeps in poll(2) between events.

Enters: a plan, then orders: delete the pod, abandon it because it left the API, or shut down. Leaves: a namespace,
a process, statuses in the API. Guarantees: the process is ended and the namespace removed, whatever happens. Where
another pod has taken the name, that pod is never written to.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from dataclasses import replace
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster.client import ApiError, request
from footprint.cluster.reflector import backoff as api_backoff
from lab.errors import LabError
from lab.nodes import plan as planning
from lab.nodes import status
from lab.nodes.plan import PodPlan
from lab.nodes.runtime import ContainerProcess, PodRuntime, Sandbox

STABLE_SECONDS: Final = 30.0
"""After running this long a container's next restart is quick again."""
STOP_GRACE_SECONDS: Final = 1.0
"""Between SIGTERM and SIGKILL when the lab's nodes shut down."""

_log = structlog.get_logger()


class Order(IntEnum):
    """What a worker is to do. A higher order overrides a lower one."""

    RUN = 0
    DELETE = 1  # requested through the API: stop within the grace period, then confirm
    ABANDON = 2  # the pod is no longer in the API: stop at once
    SHUT_DOWN = 3  # the nodes shut down: leave the API alone


class PodWorker:
    """One pod. Call ``start`` once, then ``tell`` it each change."""

    def __init__(self, api: ApiClient, runtime: PodRuntime, plan: PodPlan) -> None:
        self.plan = plan
        self._api, self._runtime = api, runtime
        self._order = Order.RUN if plan.grace is None else Order.DELETE
        self._grace = plan.grace or 0.0
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._facts = status.Facts(
            runtime.host_only(plan), time.time(), status.Waiting("ContainerCreating", "being set up")
        )
        self._log = _log.bind(pod=f"{plan.namespace}/{plan.name}", node=plan.node)
        self._thread = threading.Thread(target=self._run, name=f"pod {plan.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, order: Order, grace: float = 0.0) -> None:
        """Give a new order. One lower than the current order is ignored; a shorter grace period is not."""
        with self._lock:
            if order < self._order or (order == self._order and grace >= self._grace):
                return
            self._order, self._grace = order, grace
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def join(self, timeout: float) -> bool:
        """Whether it ended within ``timeout`` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._live()
        except Exception:
            self._log.exception("worker failed, the pod is no longer managed")
        if self._order == Order.DELETE:
            self._confirm_deletion()
        with self._lock:
            os.close(self._wake)
            self._wake = -1

    def _live(self) -> None:
        if self.plan.error:
            if self._order == Order.RUN:
                self._report(status.Waiting("CreateContainerConfigError", self.plan.error))
            self._wait_until_ordered()
            return
        sandbox = self._set_up()
        if sandbox is None:
            return
        try:
            self._facts = replace(self._facts, placement=sandbox.placement)
            self._run_container(sandbox)
        finally:
            self._runtime.remove(self.plan, sandbox)
        if isinstance(self._facts.state, status.Terminated):
            # Report the end after everything is gone: whoever sees a finished pod finds no trace of its traffic.
            self._report(self._facts.state, final=True)
        self._wait_until_ordered()

    def _set_up(self) -> Sandbox | None:
        attempt = 0
        while self._order == Order.RUN:
            attempt += 1
            try:
                return self._runtime.setup(self.plan)
            except (LabError, IndexError, OSError) as error:
                self._log.warning("pod's network not set up, trying again", error=str(error))
                self._report(status.Waiting("ContainerCreating", f"network: {error}"))
                self._wait_for_order(planning.backoff(attempt))
        return None

    def _run_container(self, sandbox: Sandbox) -> None:
        """Start, wait, start again as the restart policy says; returns with the last state in the facts."""
        quick_exits = 0
        while self._order == Order.RUN:
            state = self._once(sandbox)
            if self._order != Order.RUN or not planning.restarts(self.plan.restart_policy, state.code):
                self._facts = replace(self._facts, state=state)
                return
            lasted = state.finished - state.started
            quick_exits = 1 if lasted >= STABLE_SECONDS else quick_exits + 1
            self._facts = replace(self._facts, last=state, restarts=self._facts.restarts + 1)
            pause = planning.backoff(quick_exits)
            self._report(status.Waiting("CrashLoopBackOff", f"ended with {state.code}; again in {pause:g} s"))
            self._wait_for_order(pause)

    def _once(self, sandbox: Sandbox) -> status.Terminated:
        try:
            container = self._runtime.start(self.plan, sandbox)
        except OSError as error:
            self._log.warning("container not started", error=str(error))
            return status.Terminated(128, time.time(), time.time())
        try:
            self._report(status.Running(container.started))
            exited = self._wait_until_ordered(container.pidfd)
            if not exited:
                self._end(container)
        finally:
            code = container.finish()
        return status.ended(code, container.started, time.time())

    def _wait_until_ordered(self, pidfd: int = -1) -> bool:
        """Sleep until an order other than RUN arrives, or the process of ``pidfd`` has ended (then True)."""
        while self._order == Order.RUN:
            if self._wait_for_order(None, pidfd):
                return True
        return False

    def _end(self, container: ContainerProcess) -> None:
        """Send SIGTERM and wait for the grace period, which a later order may shorten; abandoned: neither."""
        sent = time.monotonic()
        if self._order != Order.ABANDON:
            container.signal(signal.SIGTERM)
        while self._order != Order.ABANDON:
            grace = STOP_GRACE_SECONDS if self._order == Order.SHUT_DOWN else self._grace
            left = sent + grace - time.monotonic()
            if left <= 0 or self._wait_for_order(left, container.pidfd):
                return

    def _wait_for_order(self, timeout: float | None = None, pidfd: int = -1) -> bool:
        """Sleep until an order, the end of ``pidfd``'s process (then True) or ``timeout`` seconds."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        if pidfd >= 0:
            poller.register(pidfd, select.POLLIN)
        ready = {descriptor for descriptor, _ in poller.poll(None if timeout is None else timeout * 1000)}
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return pidfd in ready

    def _report(self, state: status.State, *, final: bool = False) -> None:
        self._facts = replace(self._facts, state=state)
        body = status.patch(self.plan, self._facts, final=final)
        self._send("PATCH", f"{self.plan.path}/status", body, "application/strategic-merge-patch+json")

    def _confirm_deletion(self) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.plan.uid}}
        self._send("DELETE", self.plan.path, body, "application/json")

    def _send(self, method: str, path: str, body: dict[str, Any], content_type: str) -> None:
        """Repeat the request until the API server has it. Give up for a pod that is gone or replaced."""
        attempt = 0
        while self._order < Order.ABANDON:
            try:
                request(self._api, method, path, body=body, content_type=content_type)
            except ApiError as error:
                if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                    return
                if error.status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
                    self._log.error("request refused", method=method, path=path, error=str(error))
                    return
                attempt += 1
                self._wait_for_order(api_backoff(attempt))
            else:
                return
