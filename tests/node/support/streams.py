# SPDX-License-Identifier: Apache-2.0
"""Traffic that goes on while something happens: one pod sends to another as fast as its link lets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from footprint.classes import TrafficClass
from footprint.models import PodFootprint
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import measured
from tests.node.support import accounting
from tests.node.support.workloads import PORT, inside

_BLOCKS: Final = 10 * 2**20
"""Of 64 KiB: at 200 Mbit/s they last longer than any test."""


def begin_traffic(lab: RealLab, uids: Mapping[str, str]) -> accounting.Counted:
    """sender1 sends to the receiver; what its agent counts of it from here on."""
    (counted,) = accounting.counting((1, uids["sender1"]))
    address = accounting.address(lab, "ClusterIP over IPv4")
    endless = f"(dd if=/dev/zero bs=65536 count={_BLOCKS} 2>/dev/null | nc {address} {PORT}) >/dev/null 2>&1 &"
    inside(lab, "sender1", "sh", "-c", endless)
    counted.grows("tx", 30 * 2**20)
    return counted


def end_traffic(lab: RealLab) -> None:
    """No more is sent."""
    inside(lab, "sender1", "killall", "dd", "nc")


def elephant(lab: RealLab) -> PodFootprint | None:
    """sender1 as node1 shows it, while it is an elephant and takes most of the link; a first rate may be lower."""
    shown = measured(lab, "node1", "sender1")
    return shown if shown and shown.cls is TrafficClass.ELEPHANT and shown.el and shown.etx > 100e6 else None
