# SPDX-License-Identifier: Apache-2.0
"""What was read of the cluster, or why it could not be.

Enters: what ``plugin.doctor.gather`` read. Leaves: plain values for the checks. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from http import HTTPStatus
from typing import Final, TypeVar

from plugin.doctor.objects import Object, label

T = TypeVar("T")

COMPONENT: Final = "app.kubernetes.io/component"
"""Label by which objects of a release say what they belong to, whatever the release is called."""
NODEAGENT, EXTENDER, SCHEDULER = "nodeagent", "extender", "scheduler"
CONTROL_PLANE: Final = "kube-system"
"""Namespace of the cluster's own kube-scheduler."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that could not be read."""

    what: str
    """Such as ``Secrets``."""
    status: int
    """HTTP status; 0: there was no response."""
    said: str
    """The server's words."""
    verb: str = "list"
    resource: str = ""
    """With its API group, as kubectl names it, such as ``leases.coordination.k8s.io``."""
    namespace: str = ""
    """Empty: the right is the cluster's."""

    @property
    def forbidden(self) -> bool:
        return self.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)

    @property
    def absent(self) -> bool:
        """There is no such object, or no such kind of objects."""
        return self.status == HTTPStatus.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of one collection."""

    items: tuple[Object, ...] = ()
    whole: bool = True
    """False: there are more than are looked at."""


@dataclass(frozen=True, slots=True)
class Response:
    """Text of a program behind the API server's proxy."""

    text: str


NOT_ASKED: Final = Missing("", -1, "")
"""Nobody asked, because another answer left nothing to ask."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at a cluster."""

    release: str
    """Namespace of the release."""
    now: datetime
    """The API server's clock."""
    here: datetime
    """This machine's clock, at the same moment."""
    plugin_version: str = ""
    server_version: str | Missing = NOT_ASKED
    """Such as ``v1.37.2``."""
    nodes: Listing | Missing = NOT_ASKED
    """Metadata alone."""
    leases: Listing | Missing = NOT_ASKED
    """Of the release's namespace."""
    daemonsets: Listing | Missing = NOT_ASKED
    deployments: Listing | Missing = NOT_ASKED
    services: Listing | Missing = NOT_ASKED
    pods: Listing | Missing = NOT_ASKED
    """Of the release's namespace."""
    control_plane: Listing | Missing = NOT_ASKED
    """kube-scheduler's pods beside the API server."""
    configs: Mapping[str, Object | Missing] = field(default_factory=dict)
    """ConfigMaps that kube-schedulers mount, by NAMESPACE/NAME."""
    secrets: Mapping[str, Object | Missing] = field(default_factory=dict)
    """Certificates without their keys, by NAMESPACE/NAME."""
    policies: Mapping[str, Object | Missing] = field(default_factory=dict)
    bindings: Mapping[str, Object | Missing] = field(default_factory=dict)
    routing: Listing | Missing = NOT_ASKED
    """MutatingAdmissionPolicies of the release; none where the API server has no such kind."""
    routing_bindings: Listing | Missing = NOT_ASKED
    labelled: Listing | Missing = NOT_ASKED
    """Namespaces whose pods should get our scheduler."""
    definition: Object | Missing = NOT_ASKED
    """Of TrafficFootprint."""
    served: Object | Missing = NOT_ASKED
    """What the API server says of the group's version."""
    records: Listing | Missing = NOT_ASKED
    """TrafficFootprints."""
    metrics: Mapping[str, Response | Missing] = field(default_factory=dict)
    """The extender's, by replica."""
    asked_for: Mapping[str, Listing | Missing] = field(default_factory=dict)
    """Pods by the ``schedulerName`` of a kube-scheduler that asks the extender."""
    suspects: Mapping[str, Listing | Missing] = field(default_factory=dict)
    """Pods of nodes on which no pod has traffic."""

    def missing(self) -> Iterator[Missing]:
        """All that could not be read."""
        for each in fields(self):
            value = getattr(self, each.name)
            found = value.values() if isinstance(value, Mapping) else (value,)
            yield from (one for one in found if isinstance(one, Missing) and one is not NOT_ASKED)


def items(found: Listing | Missing) -> tuple[Object, ...]:
    """The objects; none where they could not be read."""
    return found.items if isinstance(found, Listing) else ()


def of_component(found: Listing | Missing, component: str) -> list[Object]:
    """The objects of one part of the release."""
    return [one for one in items(found) if label(one, COMPONENT) == component]


def known(values: Iterable[T | Missing]) -> list[T]:
    """Those that could be read."""
    return [one for one in values if not isinstance(one, Missing)]
