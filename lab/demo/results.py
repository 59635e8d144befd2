# SPDX-License-Identifier: Apache-2.0
"""One run's report from its pods' output and the API's events: pure.

Enters: the traffic programs' JSON lines, by pod, and ``Seen``. Leaves: a RunReport. Guarantees: a pod without a
result is named in ``unplaced``, and a request without a response counts as slow. Nothing is left out silently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from footprint.classes import TrafficClass
from lab.demo.report import DRAIN_SECONDS, ElephantResult, MouseResult, RunReport
from lab.demo.scenario import KIND_LABEL, PHASE_LABEL
from lab.demo.watcher import PodSeen, Seen
from lab.traffic.histogram import bucket, merge, midpoint, quantile

HISTORY = "history"


def final_line(log: str) -> dict[str, Any] | None:
    """The ``result`` line of a traffic program, or None when it printed none."""
    for line in reversed(log.splitlines()):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and "result" in value:
            return value
    return None


def _seconds(histogram: Mapping[Any, int], q: float) -> float:
    return (quantile(histogram, q) or 0.0) / 1e6


def _latencies(result: Mapping[str, Any]) -> dict[int, int]:
    """A mouse's histogram, with what was never answered at the bound that was waited for."""
    lost = result["sent"] - result["answered"]
    return merge([result["histogram"], {bucket(math.ceil(DRAIN_SECONDS * 1e6)): lost} if lost else {}])


def _mouse(pod: PodSeen, result: Mapping[str, Any]) -> MouseResult:
    sent, answered, p99 = result["sent"], result["answered"], _seconds(_latencies(result), 0.99)
    return MouseResult(pod.name, pod.labels["app"], pod.node, sent, answered, p99, sent - answered)


def _elephant(pod: PodSeen, result: Mapping[str, Any], seen: Seen) -> ElephantResult:
    shown = seen.elephant_shown.get(pod.uid)
    delay = None if shown is None else shown - result["started"]["monotonic"]
    return ElephantResult(pod.name, pod.labels["app"], pod.node, result["goodput"], delay)


def summarise(scheduler: str, seen: Seen, logs: Mapping[str, str], expected: int, seconds: float) -> RunReport:
    """The report of one run. ``logs`` is pod name → what it printed; ``expected`` pods of the day were created."""
    mice, elephants, histograms, without = [], [], [], []
    pods = sorted((p for p in seen.pods.values() if p.labels.get(PHASE_LABEL) != HISTORY), key=lambda p: p.name)
    for pod in pods:
        result = final_line(logs.get(pod.name, ""))
        if result is None or not result.get("started"):
            without.append(pod.name)
        elif pod.labels[KIND_LABEL] == TrafficClass.ELEPHANT:
            elephants.append(_elephant(pod, result, seen))
        else:
            mice.append(_mouse(pod, result))
            histograms.append(_latencies(result))
    without += [f"pod {number + 1} of {expected}: never bound" for number in range(len(pods), expected)]
    merged = merge(histograms)
    return RunReport(
        scheduler=scheduler, mice=tuple(mice), elephants=tuple(elephants),
        p50=_seconds(merged, 0.5), p99=_seconds(merged, 0.99), p999=_seconds(merged, 0.999),
        latency=tuple((midpoint(index) / 1e6, count) for index, count in sorted(merged.items())),
        node_writes=dict(sorted(seen.node_writes.items())), seconds=seconds, unplaced=tuple(without),
    )  # fmt: skip
