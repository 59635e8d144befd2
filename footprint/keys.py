# SPDX-License-Identifier: Apache-2.0
"""Names that both sides must spell alike: annotation keys, Lease names, the field manager.

Enters: node names. Leaves: keys and names. This module alone spells ``traffic-footprint.io``.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "traffic-footprint.io"
"""Of the API: the custom resource TrafficFootprint (``manifests/base/crd.yaml``)."""

PREFIX: Final = GROUP + "/"

NODE_FOOTPRINT: Final = PREFIX + "footprint"
"""On a Node: the versioned JSON of ``footprint.codec``."""

NODE_SUMMARY: Final = PREFIX + "summary"
"""On a Node: one line for people."""

NODE_ELEPHANT_SHARE: Final = PREFIX + "elephant-share"
"""On a Node: integer 0-100, per cent of the link used by elephants in the busier direction."""

NODE_LINK_CAPACITY: Final = PREFIX + "link-capacity"
"""On a Node, from an operator, as annotation or label: what its links carry, such as ``10G``."""

POD_CLASS: Final = PREFIX + "class"
POD_EXPECTED_BANDWIDTH: Final = PREFIX + "expected-bandwidth"
POD_PLACEMENT: Final = PREFIX + "placement"
POD_WORKLOAD: Final = PREFIX + "workload"
POD_EGRESS_LIMIT: Final = "kubernetes.io/egress-bandwidth"
"""Kubernetes' own, as the next: what the network plugin lets a pod send at most ..."""
POD_INGRESS_LIMIT: Final = "kubernetes.io/ingress-bandwidth"
"""... and receive."""

REBALANCE: Final = PREFIX + "rebalance"
"""On a pod, a Namespace or a Node: whether the rebalancer may move pods. On the release's own Namespace, ``never``
stops it altogether."""

FIELD_MANAGER: Final = "traffic-footprint"
DEFAULT_NAMESPACE: Final = "traffic-footprint"
"""Namespace of the Leases when no other one is configured."""

LEARNER_LEASE: Final = "traffic-footprint-learner"
"""Lease by which the extender's replicas elect the one that writes TrafficFootprints."""

REBALANCER_LEASE: Final = "traffic-footprint-rebalancer"
"""Lease by which the extender's replicas elect the one that moves pods."""

_LEASE_PREFIX: Final = "traffic-footprint-node-"


def lease_name(node: str) -> str:
    """Name of the heartbeat Lease of ``node``."""
    return _LEASE_PREFIX + node


def node_of_lease(lease: str) -> str | None:
    """The node whose heartbeat ``lease`` is; None for any other Lease."""
    return lease.removeprefix(_LEASE_PREFIX) if lease.startswith(_LEASE_PREFIX) else None
