# SPDX-License-Identifier: Apache-2.0
"""A pod's interfaces that bypass the node's kernel: SR-IOV and other devices handed through.

Enters: a pod's annotations. Leaves: the names of such interfaces, sorted. Pure. Guarantees: whatever the
annotations hold is a tuple of at most ``MOST`` printable names.

What such an interface carries goes from the pod, or from its guest, to the network card. No conntrack entry and no
interface of the node sees it, so no flow source counts it. Two annotations tell of them: the network status that
Multus writes (by the Network Plumbing Working Group's specification of device information 1.1), and KubeVirt's own
``network-info``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

MOST: Final = 16
_LONGEST: Final = 2**18
"""Bytes; the API server takes no more of all annotations together."""
_STATUS: Final = ("k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status")
_INFO: Final = "kubevirt.io/network-info"
_BYPASSING: Final = frozenset({"pci", "vdpa", "vhost-user", "memif"})
"""Types of devices in that specification."""


def passthrough_interfaces(annotations: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the pod's interfaces whose traffic the node does not see."""
    found: set[str] = set()
    for key in _STATUS:
        found.update(_named(_parsed(annotations.get(key)), "interface", "device-info"))
    info = _parsed(annotations.get(_INFO))
    if isinstance(info, Mapping):
        found.update(_named(info.get("interfaces"), "network", "deviceInfo"))
    return tuple(sorted(found)[:MOST])


def _parsed(text: object) -> object:
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _named(entries: object, name: str, device: str) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else ():
        told = entry.get(device) if isinstance(entry, Mapping) else None
        if isinstance(told, Mapping) and str(told.get("type")) in _BYPASSING:
            said = entry.get(name) or entry.get("name")
            yield said[:63] if isinstance(said, str) and said and said.isprintable() else "unnamed"
