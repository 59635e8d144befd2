# SPDX-License-Identifier: Apache-2.0
"""What the matrix's pods run: pure."""

from __future__ import annotations

from typing import Final

from lab.bench.matrix.cells import RECEIVER
from lab.network.addresses import OUTSIDE_V4
from lab.traffic import argv

SINK_PORT: Final = 5001
ASKED_PORT: Final = 8080


def is_mouse(name: str) -> bool:
    """Whether the pod called ``name`` is a mouse; else it is an elephant."""
    return name.startswith("mouse")


def pod_argv(name: str, bottleneck: str, rate: float) -> list[str]:
    """Of a mouse that sends ``rate`` requests a second, or of an elephant as fast as TCP lets it."""
    if is_mouse(name):
        often = ("--rate", f"{rate:g}", "--new-share", "0.2", "--report", "1", "--slices")
        return argv("mouse", f"{OUTSIDE_V4}:{ASKED_PORT}", *often)
    direction = ("--reverse",) if bottleneck == RECEIVER else ()
    return argv("elephant", f"{OUTSIDE_V4}:{SINK_PORT}", "--connections", "2", "--report", "1", *direction)


def has_begun(log: str) -> bool:
    """Whether a pod has reached its far end."""
    return '"starting":true' in log or '"started":true' in log
