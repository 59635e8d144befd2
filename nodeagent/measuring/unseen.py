# SPDX-License-Identifier: Apache-2.0
"""Pods whose traffic the flow source cannot see, or cannot see all of.

Enters: this node's pods, one reading, the name of the source. Leaves: the pods by reason. Pure.

Two reasons. ``passthrough-unseen``: a device was handed through to the pod, past the node's kernel; no source sees
what it carries. ``guests-unseen``: the source counts at sockets, and a virtual machine behind a tap (KubeVirt's
masquerade and bridge bindings) has its sockets in a kernel of its own. Its pod shows nothing at all then. A
machine behind passt uses sockets of its pod, and shows its first packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import Reading

PASSTHROUGH: Final = "passthrough-unseen"
GUESTS: Final = "guests-unseen"
REASONS: Final = (PASSTHROUGH, GUESTS)
"""In a footprint's ``bad``."""
_AT_SOCKETS: Final = "ebpf-cgroup"


@dataclass(frozen=True, slots=True)
class Unseen:
    """UIDs by reason."""

    passthrough: frozenset[str] = frozenset()
    guests: frozenset[str] = frozenset()

    @property
    def by_reason(self) -> Mapping[str, frozenset[str]]:
        return {PASSTHROUGH: self.passthrough, GUESTS: self.guests}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Those that there are pods for."""
        return tuple(reason for reason, pods in self.by_reason.items() if pods)


def unseen(pods: Mapping[str, LocalPod], reading: Reading, source: str) -> Unseen:
    """The running pods of which traffic is missing."""
    running = {uid: pod for uid, pod in pods.items() if not pod.ended and pod.phase != "Pending"}
    passed = frozenset(uid for uid, pod in running.items() if pod.passthrough)
    if source != _AT_SOCKETS:
        return Unseen(passed)
    return Unseen(passed, frozenset(uid for uid, pod in running.items() if pod.vm and not _seen(reading, uid)))


def _seen(reading: Reading, uid: str) -> bool:
    counters = reading.owners.get(uid)
    return counters is not None and bool(counters.tx_bytes or counters.rx_bytes or counters.local_bytes)
