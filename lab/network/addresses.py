# SPDX-License-Identifier: Apache-2.0
"""The lab's address plan: pure arithmetic from a node's index to everything that follows from it.

Each lab lives in namespaces of its own, so all labs use the same plan.
"""

from __future__ import annotations

import ipaddress
from typing import Final

MAX_NODES: Final = 200
"""Node indices 1..200: the bridge network is a /24 that also holds the control plane and the outside host."""

CONTROL_PLANE_V4: Final = "10.10.0.1"
CONTROL_PLANE_V6: Final = "fd00:10::1"
OUTSIDE_V4: Final = "10.10.0.250"
OUTSIDE_V6: Final = "fd00:10::250"
BRIDGE_PREFIX_V4: Final = 24
BRIDGE_PREFIX_V6: Final = 64
CLUSTER_CIDR_V4: Final = "10.244.0.0/16"
CLUSTER_CIDR_V6: Final = "fd00:244::/32"
SERVICE_CIDR_V4: Final = "10.96.0.0/16"
SERVICE_CIDR_V6: Final = "fd00:96::/112"

POD_GATEWAY_V4: Final = "169.254.1.1"
POD_GATEWAY_V6: Final = "fe80::1"
"""Every pod's next hop: link-local, the same for all, answered by nobody (its neighbour entry is permanent)."""
POD_GATEWAY_MAC: Final = "02:00:00:00:00:01"
"""Hardware address of the node's end of every pod's link."""

_RESERVED_HOSTS: Final = 9
"""The first addresses of a node's pod range stay free, so that a pod's address is never taken for a gateway's."""


def node_v4(index: int) -> str:
    """Bridge address of node ``index``."""
    return f"10.10.0.{10 + _checked(index)}"


def node_v6(index: int) -> str:
    """Bridge IPv6 address of node ``index``; its last group reads like the IPv4 host number."""
    return f"fd00:10::{10 + _checked(index)}"


def pod_cidr_v4(index: int) -> str:
    """Range of node ``index``'s pods."""
    return f"10.244.{_checked(index)}.0/24"


def pod_cidr_v6(index: int) -> str:
    """IPv6 range of node ``index``'s pods."""
    return f"fd00:244:{_checked(index)}::/64"


def pod_addresses(index: int, host: int) -> tuple[str, str]:
    """Addresses of pod number ``host`` (from 0) of node ``index``; ValueError when its range is used up."""
    number = host + _RESERVED_HOSTS + 1
    if host < 0 or number > 254:
        raise ValueError(f"pod number {host} does not fit node {index}'s range {pod_cidr_v4(index)}")
    v4 = ipaddress.IPv4Network(pod_cidr_v4(index))[number]
    v6 = ipaddress.IPv6Network(pod_cidr_v6(index))[number]
    return str(v4), str(v6)


def mac(v4: str) -> str:
    """A locally administered hardware address made from ``v4``, so that neighbours are known beforehand."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(v4).packed)


def _checked(index: int) -> int:
    if not 1 <= index <= MAX_NODES:
        raise ValueError(f"node index {index} is outside 1..{MAX_NODES}")
    return index
