# SPDX-License-Identifier: Apache-2.0
"""Reports of made-up runs."""

from __future__ import annotations

from typing import Any

from lab.demo.report import ElephantResult, MouseResult, RunReport


def mouse(
    name: str = "web-1", node: str = "node1", *, p99: float = 0.1, sent: int = 100, lost: int = 0
) -> MouseResult:
    return MouseResult(name, name.partition("-")[0], node, sent, sent - lost, p99, lost)


def elephant(
    name: str = "backup-1", node: str = "node1", *, goodput: float = 190e6, delay: float | None = 2.0
) -> ElephantResult:
    return ElephantResult(name, name.partition("-")[0], node, goodput, delay)


def report(scheduler: str, **changes: Any) -> RunReport:
    """A run with one mouse and one elephant on node1."""
    values: dict[str, Any] = {
        "mice": (mouse(),), "elephants": (elephant(),), "p50": 0.002, "p99": 0.1, "p999": 0.12,
        "latency": ((0.002, 98), (0.1, 2)), "node_writes": {"node1": 3, "node2": 1}, "seconds": 60.0,
    }  # fmt: skip
    return RunReport(scheduler, **{**values, **changes})


def better(**changes: Any) -> RunReport:
    """The run with Traffic Footprint of a demo that shows what it should."""
    apart = {"elephants": (elephant(node="node2"),), "p99": 0.002, "p999": 0.004}
    return report("extender", **{**apart, **changes})
