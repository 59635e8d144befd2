# SPDX-License-Identifier: Apache-2.0
"""A pod's status for the API: pure.

Enters: a plan, its addresses and its container's state. Leaves: the body of a strategic merge patch of
``/status``. Guarantees: conditions that others own, such as PodScheduled, stay, because lists merge by key in such
a patch.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lab.nodes.plan import Placement, PodPlan


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running: about to be started again, or unable to start."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Running:
    """``started`` in seconds since the epoch."""

    started: float


@dataclass(frozen=True, slots=True)
class Terminated:
    """``code`` is the exit status, 128 + number for a signal; times in seconds since the epoch."""

    code: int
    started: float
    finished: float

    @property
    def reason(self) -> str:
        """As a kubelet words it."""
        return "Completed" if self.code == 0 else "Error"


State = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a pod's status is built from."""

    placement: Placement
    accepted: float
    """When the node first saw the pod, seconds since the epoch."""
    state: State
    last: Terminated | None = None
    restarts: int = 0


def ended(returncode: int, started: float, finished: float) -> Terminated:
    """From a child's return code as Python reports it: negative for a signal."""
    return Terminated(128 - returncode if returncode < 0 else returncode, started, finished)


def phase(facts: Facts, *, final: bool) -> str:
    """``final``: the container will not be started again."""
    if isinstance(facts.state, Terminated) and final:
        return "Succeeded" if facts.state.code == 0 else "Failed"
    started = not isinstance(facts.state, Waiting) or facts.last is not None
    return "Running" if started else "Pending"


def patch(plan: PodPlan, facts: Facts, *, final: bool = False) -> dict[str, Any]:
    """The patch of ``/status``; the UID in it makes the server refuse it (409) for a namesake of the pod."""
    pod_ips = [{"ip": ip} for ip in facts.placement.pod_ips]
    status: dict[str, Any] = {
        "phase": phase(facts, final=final),
        "startTime": stamp(facts.accepted),
        "hostIP": facts.placement.host_ips[0],
        "hostIPs": [{"ip": ip} for ip in facts.placement.host_ips],
        "conditions": _conditions(facts, final=final),
        "containerStatuses": [_container(plan, facts)],
    }
    if pod_ips:
        status |= {"podIP": pod_ips[0]["ip"], "podIPs": pod_ips}
    return {"metadata": {"uid": plan.uid}, "status": status}


def stamp(seconds: float) -> str:
    """Kubernetes' time format, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(facts: Facts, *, final: bool) -> list[dict[str, Any]]:
    ready = isinstance(facts.state, Running)
    since = stamp(_changed(facts))
    reason = (
        None
        if ready
        else "PodCompleted"
        if final and phase(facts, final=True) == "Succeeded"
        else "ContainersNotReady"
    )
    shown = {"status": "True" if ready else "False", "lastTransitionTime": since, "reason": reason}
    return [
        {"type": "Initialized", "status": "True", "lastTransitionTime": stamp(facts.accepted)},
        {"type": "ContainersReady", **shown},
        {"type": "Ready", **shown},
    ]


def _changed(facts: Facts) -> float:
    match facts.state:
        case Running(started=started):
            return started
        case Terminated(finished=finished):
            return finished
    return facts.last.finished if facts.last else facts.accepted


def _container(plan: PodPlan, facts: Facts) -> dict[str, Any]:
    running = isinstance(facts.state, Running)
    return {
        "name": plan.container,
        "image": plan.image,
        "imageID": "",
        "containerID": f"lab://{plan.uid}",
        "ready": running,
        "started": running,
        "restartCount": facts.restarts,
        "state": _state(facts.state),
        "lastState": _state(facts.last) if facts.last else {},
    }


def _state(state: State) -> dict[str, Any]:
    match state:
        case Waiting(reason=reason, message=message):
            return {"waiting": {"reason": reason, "message": message}}
        case Running(started=started):
            return {"running": {"startedAt": stamp(started)}}
        case Terminated(code=code, started=started, finished=finished):
            shown: dict[str, Any] = {
                "exitCode": code,
                "reason": state.reason,
                "startedAt": stamp(started),
                "finishedAt": stamp(finished),
            }
            if code > 128 and code - 128 in signal.valid_signals():
                shown["signal"] = code - 128
            return {"terminated": shown}
