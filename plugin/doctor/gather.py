# SPDX-License-Identifier: Apache-2.0
"""One look at a cluster: everything that the checks need, read once.

Enters: an API server. Leaves: Facts. The only module here that asks anybody. Guarantees: reads only; what is
forbidden, absent or late becomes a Missing, and the rest is read all the same. Collections are read page by page
and no further than ``Bounds`` says. Of Secrets, private keys are dropped at once.

Raises ApiError only where nothing can be read at all: the API server does not respond, or takes no credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from extender.model.trafficfootprint import API_VERSION, PLURAL
from footprint.cluster import paths
from footprint.cluster.client import ApiError
from footprint.cluster.listing import pages
from footprint.keys import GROUP
from plugin.doctor.checks import certificates, definition, measuring, policies, routing, schedulers
from plugin.doctor.facts import (
    COMPONENT,
    CONTROL_PLANE,
    EXTENDER,
    Facts,
    Listing,
    Missing,
    Response,
    of_component,
)
from plugin.doctor.objects import Object, at, containers, flag, mapping, named, objects, text
from plugin.doctor.remedies import INSTANCE, release_name

T = TypeVar("T")

METRICS_PORT: Final = 8891
"""The extender's in the chart, where its Deployment does not say."""
_METRICS_BYTES: Final = 4 * 2**20
_CERTIFICATES: Final = ("tls.crt", "ca.crt")
_SERVED: Final = f"/apis/{API_VERSION}"
_ADMISSION: Final = "admissionregistration.k8s.io"


class Server(Protocol):
    """An API server, read only. Raises ApiError."""

    def read(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> dict[str, Any]:
        """The JSON object at ``path``."""

    def text(self, path: str, most: int) -> str:
        """The first ``most`` bytes of what is at ``path``."""

    def clock(self) -> datetime:
        """The API server's time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many objects are read at most."""

    nodes: int = 10_000
    """And as many Leases."""
    release: int = 10_000
    """Pods of the release's namespace: an agent for each node."""
    objects: int = 500
    """Of every other collection."""
    records: int = 10_000
    """TrafficFootprints."""
    replicas: int = 10
    """Of the extender, whose metrics are read."""
    suspects: int = 10
    """Nodes without any pod's traffic, whose pods are read."""
    placed: int = 500
    """Pods of one ``schedulerName``."""


def _here() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)


def gather(
    server: Server,
    release: str,
    *,
    plugin_version: str,
    bounds: Bounds | None = None,
    here: Callable[[], datetime] = _here,
) -> Facts:
    """One look. ``release``: the namespace of the release. ``here``: this machine's clock. Raises ApiError."""
    bounds = bounds or Bounds()
    now = _clock(server, here)
    facts = Facts(release=release, now=now, here=here(), plugin_version=plugin_version)
    facts = _release(server, facts, bounds)
    facts = _cluster(server, facts, bounds)
    facts = _schedulers(server, facts, bounds)
    facts = replace(facts, metrics=_metrics(server, facts, bounds))
    return replace(facts, suspects=_suspects(server, facts, bounds))


def _clock(server: Server, here: Callable[[], datetime]) -> datetime:
    """The API server's time; this machine's where a server that responds does not tell it. Raises ApiError."""
    try:
        return server.clock()
    except ApiError as error:
        if error.status in (0, HTTPStatus.UNAUTHORIZED):
            raise
        return here()


def _release(server: Server, facts: Facts, bounds: Bounds) -> Facts:
    """What is in the release's namespace, and beside the API server."""
    space = facts.release

    def those(group: str, plural: str, most: int = bounds.objects) -> Listing | Missing:
        return _listing(server, _collection(group, plural, space), plural, group, space, most=most)

    control_plane = _listing(
        server, _collection("", "pods", CONTROL_PLANE), "pods", "", CONTROL_PLANE, most=bounds.objects,
        query={"labelSelector": "component=kube-scheduler"},
    )  # fmt: skip
    return replace(
        facts,
        daemonsets=those("apps/v1", "daemonsets"),
        deployments=those("apps/v1", "deployments"),
        services=those("", "services"),
        pods=those("", "pods", bounds.release),
        leases=those(paths.LEASE_API, "leases", bounds.nodes),
        control_plane=control_plane,
    )


def _cluster(server: Server, facts: Facts, bounds: Bounds) -> Facts:
    """What is the cluster's."""
    nodes = _listing(server, paths.NODES, "nodes", "", "", most=bounds.nodes, metadata_only=True, keep=_node)
    records = _listing(server, paths.custom(API_VERSION, PLURAL), PLURAL, API_VERSION, "", most=bounds.records)
    facts = replace(facts, nodes=nodes, records=records)
    names = policies.expected(facts)
    return replace(
        facts,
        server_version=_one(
            lambda: text(server.read("/version"), "gitVersion"), "the API server's version", "get", "/version", ""
        ),
        policies={name: _policy(server, "validatingadmissionpolicies", name) for name in names},
        bindings={name: _policy(server, "validatingadmissionpolicybindings", name) for name in names},
        routing=_routing(server, facts, "mutatingadmissionpolicies", bounds),
        routing_bindings=_routing(server, facts, "mutatingadmissionpolicybindings", bounds),
        labelled=_listing(
            server, "/api/v1/namespaces", "namespaces", "", "", most=bounds.objects, metadata_only=True,
            query={"labelSelector": f"{routing.LABEL}={routing.LABELLED}"},
        ),
        served=_one(lambda: server.read(_SERVED), f"what is served of {GROUP}", "get", _SERVED, ""),
        definition=_one(
            lambda: server.read(
                f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{quote(definition.NAME, safe='')}"
            ),
            "the definition of TrafficFootprint", "get", "customresourcedefinitions.apiextensions.k8s.io", "",
        ),
    )  # fmt: skip


def _policy(server: Server, plural: str, name: str) -> Object | Missing:
    path = f"/apis/{_ADMISSION}/v1/{plural}/{quote(name, safe='')}"
    return _one(lambda: server.read(path), f"{plural} {name}", "get", f"{plural}.{_ADMISSION}", "")


def _routing(server: Server, facts: Facts, plural: str, bounds: Bounds) -> Listing | Missing:
    """Objects of the release that give pods a scheduler. An API server without that kind has none."""
    group = f"{_ADMISSION}/v1"
    mine = f"{COMPONENT}={routing.COMPONENT_NAME},{INSTANCE}={release_name(facts)}"
    found = _listing(
        server, f"/apis/{group}/{plural}", plural, group, "", most=bounds.objects, query={"labelSelector": mine}
    )
    return Listing() if isinstance(found, Missing) and found.absent else found


def _schedulers(server: Server, facts: Facts, bounds: Bounds) -> Facts:
    """Configurations, then what they name: Secrets, and pods of their profiles."""
    configs = {
        f"{space}/{name}": _one(
            lambda space=space, name=name: server.read(_collection("", "configmaps", space, name)),  # type: ignore[misc]
            f"ConfigMap {name}", "get", "configmaps", space,
        )
        for space, name in sorted(schedulers.config_maps(facts.deployments, facts.control_plane))
    }  # fmt: skip
    facts = replace(facts, configs=configs)
    secrets = {
        f"{space}/{name}": _one(
            lambda space=space, name=name: _without_key(server.read(_collection("", "secrets", space, name))),  # type: ignore[misc]
            f"Secret {name}", "get", "secrets", space,
        )
        for space, name in sorted(certificates.mounted_secrets(facts))
    }  # fmt: skip
    asked_for = {
        name: _listing(
            server, paths.PODS, "pods", "", "", most=bounds.placed,
            query={"fieldSelector": f"spec.schedulerName={name}"}, keep=_pod,
        )
        for name in sorted(schedulers.asking(facts))
    }  # fmt: skip
    return replace(facts, secrets=secrets, asked_for=asked_for)


def _metrics(server: Server, facts: Facts, bounds: Bounds) -> dict[str, Response | Missing]:
    """Of each replica of the extender that runs."""
    found: dict[str, Response | Missing] = {}
    running = [p for p in of_component(facts.pods, EXTENDER) if text(p, "status", "phase") == "Running"]
    for pod in running[: bounds.replicas]:
        name = named(pod)
        path = f"{_collection('', 'pods', facts.release, f'{name}:{metrics_port(pod)}')}/proxy/metrics"
        found[name] = _one(
            lambda path=path: Response(server.text(path, _METRICS_BYTES)),  # type: ignore[misc]
            f"metrics of {name}", "get", "pods/proxy", facts.release,
        )  # fmt: skip
    return found


def metrics_port(pod: Object) -> int:
    """The port that a replica serves metrics on."""
    for container in containers(at(pod, "spec")):
        said = flag(container, "metrics-port") or ""
        if said.isascii() and said.isdigit() and len(said) < 6:
            return int(said)
        for port in objects(container, "ports"):
            if port.get("name") == "metrics" and isinstance(port.get("containerPort"), int):
                return int(port["containerPort"])
    return METRICS_PORT


def _suspects(server: Server, facts: Facts, bounds: Bounds) -> dict[str, Listing | Missing]:
    """Pods of the nodes on which no pod has traffic."""
    return {
        node: _listing(
            server, paths.PODS, "pods", "", "", most=bounds.objects,
            query={"fieldSelector": f"spec.nodeName={node}"}, keep=_pod,
        )
        for node in measuring.suspects(measuring.decoded(facts))[: bounds.suspects]
    }  # fmt: skip


def _collection(group: str, plural: str, space: str, name: str = "") -> str:
    root = f"/apis/{group}" if group else "/api/v1"
    where = f"{root}/namespaces/{quote(space, safe='')}/{plural}"
    return f"{where}/{quote(name, safe=':')}" if name else where


def _resource(plural: str, group: str) -> str:
    """As kubectl names it."""
    name = group.partition("/")[0]
    return f"{plural}.{name}" if name else plural


def _listing(
    server: Server, path: str, plural: str, group: str, space: str, *, most: int,
    query: Mapping[str, str] | None = None, metadata_only: bool = False, keep: Callable[[Object], Object] = dict,
) -> Listing | Missing:  # fmt: skip
    """The first objects of a collection, ``most`` of them."""

    def read() -> Listing:
        found: list[Object] = []
        for page in pages(lambda part: server.read(path, part, metadata_only=metadata_only), query):
            found += [keep(item) for item in page.items if isinstance(item, dict)]
            if len(found) > most:
                return Listing(tuple(found[:most]), whole=False)
        return Listing(tuple(found))

    return _one(read, plural, "list", _resource(plural, group), space)


def _one(read: Callable[[], T], what: str, verb: str, resource: str, space: str) -> T | Missing:
    """What ``read`` reads, or why it could not. Raises ApiError for what would meet every other request too."""
    try:
        return read()
    except ApiError as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise
        return Missing(what, error.status, str(error), verb, resource, space)


def _node(found: Object) -> Object:
    """What is used of a Node."""
    metadata = mapping(found, "metadata")
    kept = {key: metadata[key] for key in ("name", "annotations", "managedFields") if key in metadata}
    kept["managedFields"] = [
        {"manager": entry.get("manager"), "time": entry.get("time")}
        for entry in objects(metadata, "managedFields")
    ]
    if isinstance(notes := metadata.get("annotations"), Mapping):
        kept["annotations"] = {k: v for k, v in notes.items() if isinstance(k, str) and k.startswith(f"{GROUP}/")}
    return {"metadata": kept}


def _pod(found: Object) -> Object:
    """What is used of a pod that is not the release's."""
    metadata, spec = mapping(found, "metadata"), mapping(found, "spec")
    return {
        "metadata": {k: metadata[k] for k in ("name", "namespace", "creationTimestamp") if k in metadata},
        "spec": {k: spec[k] for k in ("nodeName", "hostNetwork", "schedulerName") if k in spec},
        "status": {"phase": text(found, "status", "phase")},
    }


def _without_key(secret: Object) -> Object:
    """A Secret's certificates: no private key is kept."""
    data = mapping(secret, "data")
    metadata = mapping(secret, "metadata")
    return {
        "metadata": {"name": metadata.get("name"), "annotations": dict(mapping(metadata, "annotations"))},
        "data": {name: data[name] for name in _CERTIFICATES if name in data},
    }
