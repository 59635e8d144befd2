# SPDX-License-Identifier: Apache-2.0
"""What the programs print, and the table of two turns: pure.

Enters: the output of redis-benchmark, wrk and iperf3. Leaves: milliseconds and bit/s. Raises ValueError for output
that has no figures, so that a program that failed is never a row of zeros.
"""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table

_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_INTERVAL: Final = re.compile(r"^(\d+) +\[ *\d+\] +[\d.]+- *[\d.]+ +sec +[\d.]+ \S*Bytes +([\d.]+) Kbits/sec *$")


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one service's requests, milliseconds, as its client reports it."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One scheduler's."""

    scheduler: str
    mice: Mapping[str, str]
    """Pod to node."""
    elephants: Mapping[str, str]
    latencies: Mapping[str, Latency]
    """By service: the median over its pods."""
    goodputs: tuple[float, ...]
    """bit/s that each elephant's server received, one after the other."""

    @property
    def mixed(self) -> set[str]:
        """Nodes with mice and elephants."""
        return set(self.mice.values()) & set(self.elephants.values())


def redis(outputs: Iterable[str]) -> Latency:
    """The medians over runs of ``redis-benchmark --csv``."""
    runs = [row for output in outputs for row in csv.DictReader(io.StringIO(output))]
    if not runs:
        raise ValueError("redis-benchmark has printed no figures")
    return median([Latency(float(row["p50_latency_ms"]), float(row["p99_latency_ms"])) for row in runs])


def wrk(output: str) -> Latency:
    """From the latency distribution of ``wrk --latency``."""
    found = dict(re.findall(r"^ +(50|99)% +(\S+)$", output, re.MULTILINE))
    if len(found) != 2:
        raise ValueError(f"wrk has printed no latencies: {output.strip()[-200:]!r}")
    return Latency(*(_milliseconds(found[share]) for share in ("50", "99")))


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if match is None:
        raise ValueError(f"{text!r} is no duration of wrk's")
    return float(match[1]) * _UNITS[match[2]]


def goodput(log: str, begin: float, end: float) -> float:
    """Mean bit/s of an iperf3 server's one-second lines between two Unix times. Raises ValueError for none."""
    lines = (_INTERVAL.match(line) for line in log.splitlines())
    rates = [float(found[2]) * 1e3 for found in lines if found and begin <= int(found[1]) <= end]
    if not rates:
        raise ValueError("iperf3 received nothing in the measured time")
    return statistics.mean(rates)


def median(latencies: Sequence[Latency]) -> Latency:
    """Of each figure on its own."""
    return Latency(
        *(statistics.median(column) for column in zip(*((each.p50, each.p99) for each in latencies), strict=True))
    )


def table(turns: Sequence[Turn]) -> Table:
    """A row for each figure, a column for each scheduler."""
    shown = Table(title="programs as Debian ships them; real nodes")
    shown.add_column("")
    for turn in turns:
        shown.add_column(turn.scheduler, justify="right")
    for service in turns[0].latencies:
        for share in ("p50", "p99"):
            cells = (f"{getattr(turn.latencies[service], share):.2f} ms" for turn in turns)
            shown.add_row(f"{service} {share}", *cells)
    for number in range(len(turns[0].goodputs)):
        shown.add_row(f"elephant {number + 1}", *(f"{turn.goodputs[number] / 1e6:.1f} Mbit/s" for turn in turns))
    shown.add_row("nodes with mice and elephants", *(str(len(turn.mixed)) for turn in turns))
    return shown
