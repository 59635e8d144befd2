# SPDX-License-Identifier: Apache-2.0
"""What to run for a pod: pure.

Enters: a Pod as JSON. Leaves: a PodPlan. Guarantees: for a pod that the lab cannot run, ``error`` is a sentence
for the pod's status, and no exception is raised. The lab runs the first container alone. It ignores the image and
requires a command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DEFAULT_GRACE_SECONDS: Final = 30.0
_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_.][-A-Za-z0-9_.]*)\)")
_KEYED: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True, slots=True)
class EnvVar:
    """A variable with its value, or with a field that is known once the pod has its addresses."""

    name: str
    value: str = ""
    field: str = ""
    """``status.podIP``, ``status.podIPs``, ``status.hostIP`` or ``status.hostIPs``."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A pod's own addresses and its node's, IPv4 first."""

    pod_ips: tuple[str, ...]
    host_ips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PodPlan:
    """All that the lab runs for one pod, and where."""

    uid: str
    namespace: str
    name: str
    node: str
    container: str
    image: str
    argv: tuple[str, ...]
    env: tuple[EnvVar, ...]
    working_directory: str | None
    host_network: bool
    restart_policy: str
    error: str
    """Why the lab cannot run it; empty when it can."""
    grace: float | None
    """Seconds between SIGTERM and SIGKILL once its deletion was requested; None before."""
    ended: bool
    """Whether its phase is Succeeded or Failed."""

    @property
    def path(self) -> str:
        """Of the pod in the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


def plan_of(raw: Mapping[str, Any]) -> PodPlan:
    """The plan of a bound pod."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    container = (spec.get("containers") or [{}])[0]
    env, error = _env(container, meta, spec)
    argv = (*(container.get("command") or ()), *(container.get("args") or ()))
    if not container.get("command"):
        error = "the lab runs no images: give the first container a command"
    grace = (
        meta.get("deletionGracePeriodSeconds", DEFAULT_GRACE_SECONDS) if meta.get("deletionTimestamp") else None
    )
    return PodPlan(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        node=spec.get("nodeName") or "",
        container=container.get("name") or "main",
        image=container.get("image") or "",
        argv=tuple(str(word) for word in argv),
        env=env,
        working_directory=container.get("workingDir"),
        host_network=bool(spec.get("hostNetwork")),
        restart_policy=spec.get("restartPolicy") or "Always",
        error=error,
        grace=None if grace is None else float(grace),
        ended=status.get("phase") in ("Succeeded", "Failed"),
    )


def environment(plan: PodPlan, placement: Placement) -> dict[str, str]:
    """The container's variables, with references to earlier ones resolved."""
    late = {
        "status.podIP": placement.pod_ips[0] if placement.pod_ips else "",
        "status.podIPs": ",".join(placement.pod_ips),
        "status.hostIP": placement.host_ips[0] if placement.host_ips else "",
        "status.hostIPs": ",".join(placement.host_ips),
    }
    known: dict[str, str] = {}
    for variable in plan.env:
        known[variable.name] = late[variable.field] if variable.field else expand(variable.value, known)
    return known


def command(plan: PodPlan, env: Mapping[str, str]) -> list[str]:
    """The argument vector with ``$(NAME)`` resolved as Kubernetes does: unknown names stay, ``$$`` is a ``$``."""
    return [expand(word, env) for word in plan.argv]


def expand(text: str, env: Mapping[str, str]) -> str:
    """``text`` with ``$(NAME)`` replaced from ``env``."""
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), text)


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` is started again."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def backoff(restart_count: int) -> float:
    """Seconds before restart number ``restart_count`` (from 1): short, as a lab lives for minutes."""
    return float(min(5.0, 0.2 * 2 ** min(restart_count - 1, 10)))


def _env(
    container: Mapping[str, Any], meta: Mapping[str, Any], spec: Mapping[str, Any]
) -> tuple[tuple[EnvVar, ...], str]:
    found: list[EnvVar] = []
    if container.get("envFrom"):
        return (), "envFrom is not supported in the lab: give values"
    for raw in container.get("env") or ():
        name, source = str(raw["name"]), raw.get("valueFrom")
        if not source:
            found.append(EnvVar(name, str(raw.get("value") or "")))
            continue
        variable = _field(name, (source.get("fieldRef") or {}).get("fieldPath") or "", meta, spec)
        if variable is None:
            return (
                (),
                f"environment variable {name}: of valueFrom the lab knows only fieldRef of names and addresses",
            )
        found.append(variable)
    return tuple(found), ""


def _field(name: str, path: str, meta: Mapping[str, Any], spec: Mapping[str, Any]) -> EnvVar | None:
    if path in ("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"):
        return EnvVar(name, field=path)
    if keyed := _KEYED.fullmatch(path):
        return EnvVar(name, _literal(str((meta.get(keyed[1]) or {}).get(keyed[2], ""))))
    known = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
    }
    return EnvVar(name, _literal(str(known[path]))) if path in known else None


def _literal(value: str) -> str:
    """A field's value holds no references, whatever it looks like."""
    return value.replace("$", "$$")
