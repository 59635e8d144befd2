# SPDX-License-Identifier: Apache-2.0
"""Figures that pictures show, read from the page of measurements, so that the two cannot differ.

Enters: the page. Leaves: numbers. Raises LabError when the page lacks a row.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import Final

from lab.errors import LabError

_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Figures:
    """Milliseconds of mice, Mbit/s of elephants, seconds of the way to an annotation."""

    p99_before: float
    p99_after: float
    times: float
    """How many times lower, in the median of the runs."""
    goodput_before: float
    goodput_after: float
    event_ms: float
    """From the crossing datagram to the event in user space, eBPF."""
    decision_ebpf: float
    decision_ctnetlink: float
    annotation: tuple[float, float]
    """From an elephant's first byte to its annotation in the demo: least and most."""


def figures(page: str) -> Figures:
    """What ``page`` says; the median where a cell has several runs."""
    p99, goodput = _row(page, "mice p99"), _row(page, "elephants' goodput, mean")
    annotation = _numbers(_row(page, "elephant's first byte to its annotation")[1])
    return Figures(
        _median(p99[0]), _median(p99[1]), _numbers(p99[2])[0], _median(goodput[0]), _median(goodput[1]),
        _median(_row(page, "to the event in user space, eBPF, 6.12")[1]),
        _median(_row(page, "to the decision to write, eBPF, 6.12")[1]),
        _median(_row(page, "to the decision to write, ctnetlink, natively")[1]),
        (min(annotation), max(annotation)),
    )  # fmt: skip


def _row(page: str, name: str) -> list[str]:
    """The cells beside ``name`` in its table."""
    match = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", page, re.MULTILINE)
    if match is None:
        raise LabError(f"docs/explanation/measurements.md has no row {name!r}, which a picture shows")
    return match[1].split("|")


def _numbers(cell: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(cell)]


def _median(cell: str) -> float:
    return statistics.median(_numbers(cell))
