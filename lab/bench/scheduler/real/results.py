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
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def table(turns: Mapping[str, Sequence[Turn]]) -> Table:
    """A row for each figure, a column for each kind of turn: its turns' median, and the least and the greatest."""
    shown = Table(title="programs as Debian ships them; real nodes")
    shown.add_column("")
    for name in turns:
        shown.add_column(name, justify="right")

    def row(what: str, figure: Callable[[Turn], float], form: str) -> None:
        shown.add_row(what, *(_spread([figure(each) for each in kind], form) for kind in turns.values()))

    first = next(iter(turns.values()))[0]
    for service in first.latencies:
        row(f"{service} p50", lambda turn, s=service: turn.latencies[s].p50, "{:.2f} ms")  # type: ignore[misc]
        row(f"{service} p99", lambda turn, s=service: turn.latencies[s].p99, "{:.2f} ms")  # type: ignore[misc]
    row("elephants together", lambda turn: sum(turn.goodputs) / 1e6, "{:.0f} Mbit/s")
    row("nodes with mice and elephants", lambda turn: len(turn.mixed), "{:.0f}")
    return shown


def _spread(values: Sequence[float], form: str) -> str:
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    least, greatest = (form.format(value).partition(" ")[0] for value in (min(values), max(values)))
    return f"{middle} ({least} to {greatest})"
