# SPDX-License-Identifier: Apache-2.0
"""Who asks the lab's API server, and what it answered: clients with service accounts' tokens, requests by name.

Enters: a lab. Leaves: clients whose every request is refused or passes as it would for that account in production.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kubernetes.client import ApiClient

from footprint.cluster.client import MERGE_PATCH, ApiError, connect, request
from lab import programs
from lab.controlplane import kubeconfig
from lab.controlplane import readiness as cluster
from lab.lab import Lab
from tests.cluster.support.workloads import eventually, pod

CORE: Final = "/api/v1"
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/{}/events"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
HERE: Final = programs.NAMESPACE

Permission = tuple[str, str, str]
"""Verb, API group, resource with its subresource."""


def client(lab: Lab, token: str, directory: Path) -> ApiClient:
    """A client that has nothing but ``token``; its requests are recorded under the user agent ``pytest``."""
    known = json.loads(lab.kubeconfig.read_text())["clusters"][0]["cluster"]
    path = directory / "token.kubeconfig"
    kubeconfig.write(
        path, server=known["server"], ca=Path(known["certificate-authority"]), user=kubeconfig.token_user(token)
    )
    return connect(str(path), user_agent="pytest")


@contextmanager
def bound_to_a_pod(lab: Lab, account: str, node: str) -> Iterator[str]:
    """A token as the kubelet of ``node`` would mount it into a pod of ``account``: bound to that pod."""
    stand_in = pod(f"stand-in-{node}", ["sleep", "600"], node=node)
    stand_in["spec"]["serviceAccountName"] = account
    name, path = stand_in["metadata"]["name"], f"{CORE}/namespaces/{HERE}/pods"
    request(lab.api, "POST", path, body=stand_in)
    try:
        yield cluster.token(lab.api, HERE, account, cluster.reference(lab.api, "Pod", f"{path}/{name}"))
    finally:
        request(lab.api, "DELETE", f"{path}/{name}", body={"gracePeriodSeconds": 0})


def bound_to_a_node(lab: Lab, account: str, node: str) -> str:
    """A token bound to the Node itself, as the lab's own agents have."""
    return cluster.token(lab.api, HERE, account, cluster.reference(lab.api, "Node", f"{CORE}/nodes/{node}"))


@dataclass(frozen=True)
class Try:
    """One request, and what refuses it."""

    what: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    because: str = ""
    """Found in the refusal's message (a regular expression)."""
    query: Mapping[str, str] = field(default_factory=dict)

    def of(self, api: ApiClient) -> dict[str, Any]:
        """The answer. Raises ApiError."""
        content_type = MERGE_PATCH if self.method == "PATCH" else "application/json"
        return request(api, self.method, self.path, query=self.query, body=self.body, content_type=content_type)

    def refusal(self, api: ApiClient) -> str:
        """Why it was refused. Fails the test when it passed, or failed for want of something else than a right."""
        error = self.error(api)
        assert error is not None, f"{self.what}: passed"
        assert error.status in (403, 422), f"{self.what}: {error.status} {error}"
        return str(error)

    def error(self, api: ApiClient) -> ApiError | None:
        """The error; None when it passed."""
        try:
            self.of(api)
        except ApiError as error:
            return error
        return None


def settle(ask: Try, api: ApiClient, *, refused: bool) -> None:
    """Until the API server has seen the change of a role or policy by which ``ask`` is refused, or passes."""
    eventually(
        f"{ask.what} is {'refused' if refused else 'allowed'}", lambda: (ask.error(api) is not None) is refused
    )


def granted(lab: Lab, account: str) -> set[Permission]:
    """What the roles bound to ``account`` allow, wherever they are."""
    found: set[Permission] = set()
    for bindings in ("clusterrolebindings", "rolebindings"):
        for binding in request(lab.api, "GET", f"{RBAC}/{bindings}")["items"]:
            subjects = {(s["kind"], s.get("namespace"), s["name"]) for s in binding.get("subjects") or ()}
            if ("ServiceAccount", HERE, account) in subjects:
                found |= _of_role(lab, binding)
    return found


def _of_role(lab: Lab, binding: Mapping[str, Any]) -> set[Permission]:
    role = binding["roleRef"]
    where = "" if role["kind"] == "ClusterRole" else f"/namespaces/{binding['metadata']['namespace']}"
    return permissions(request(lab.api, "GET", f"{RBAC}{where}/{role['kind'].lower()}s/{role['name']}")["rules"])


def permissions(rules: Iterable[Mapping[str, Any]]) -> set[Permission]:
    """What a role's rules allow."""
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def used(lab: Lab, account: str, program: str) -> set[Permission]:
    """What ``program`` asked as ``account`` and was answered."""
    answered = [event for event in asked_by(lab, account, program) if event["responseStatus"]["code"] < 400]
    return {permission_of(event) for event in answered if "objectRef" in event}


def refused(lab: Lab, account: str, program: str) -> list[str]:
    """What it asked without a right to (403), or not as it has to be (422)."""
    return [
        f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message', '')}"
        for event in asked_by(lab, account, program)
        if event["responseStatus"]["code"] in (403, 422)
    ]


def asked_by(lab: Lab, account: str, program: str) -> Iterator[dict[str, Any]]:
    """The requests of ``program`` (how its user agent begins) as ``account``, from the API server's audit log."""
    for line in lab.audit_log.read_text().splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # the last line, half written
            continue
        mine = event["user"]["username"] == f"system:serviceaccount:{HERE}:{account}"
        if mine and event.get("userAgent", "").startswith(program):
            yield event


def permission_of(event: Mapping[str, Any]) -> Permission:
    """What allowed a request."""
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    return event["verb"], target.get("apiGroup", ""), resource


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
