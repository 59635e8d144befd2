# SPDX-License-Identifier: Apache-2.0
"""A run's measurements as a table, JSON and a picture.

Enters: ``RunReport`` values. Leaves: text for the terminal and two files. Every figure is from the run itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from rich.table import Table

MICE_COLOUR: Final = "#1f77b4"
ELEPHANT_COLOUR: Final = "#d95f02"
DRAIN_SECONDS: Final = 5.0
"""How long a mouse waits for its last answers, and the latency of a request that got none by then: it is at least
that, and leaving it out would favour the run that lost it."""
RUN_COLOURS: Final = {"default": "#8c8c8c", "extender": "#1b9e77"}


@dataclass(frozen=True)
class ElephantResult:
    pod: str
    workload: str
    node: str
    goodput: float
    """bit/s the receiver's side acknowledged over its whole life."""
    seconds_to_annotation: float | None
    """From its first byte to a Node annotation that shows its pod with an elephant flow; None: never shown."""


@dataclass(frozen=True)
class MouseResult:
    pod: str
    workload: str
    node: str
    sent: int
    answered: int
    p99: float
    """Seconds."""
    lost: int = 0
    """Requests without a response. Each counts as DRAIN_SECONDS long, the wait for the last responses."""


@dataclass(frozen=True)
class RunReport:
    """One run. Latencies in seconds, rates in bit/s."""

    scheduler: str
    mice: tuple[MouseResult, ...]
    elephants: tuple[ElephantResult, ...]
    p50: float
    p99: float
    p999: float
    latency: tuple[tuple[float, int], ...]
    """Merged histogram of all mice, lost requests included: (middle of bucket in seconds, requests)."""
    node_writes: dict[str, int]
    seconds: float
    """Length of the run, to relate the writes to."""
    unplaced: tuple[str, ...] = ()
    """Pods that never got a node, or whose results are missing: a run with any is no result."""

    @property
    def goodput(self) -> float:
        """Mean goodput of an elephant."""
        return sum(e.goodput for e in self.elephants) / len(self.elephants) if self.elephants else 0.0

    @property
    def lost(self) -> int:
        """Requests of mice without a response."""
        return sum(mouse.lost for mouse in self.mice)

    @property
    def detection(self) -> list[float]:
        return sorted(e.seconds_to_annotation for e in self.elephants if e.seconds_to_annotation is not None)

    def nodes(self) -> dict[str, tuple[int, int]]:
        """Node → (mice pods, elephant pods)."""
        names = sorted({m.node for m in self.mice} | {e.node for e in self.elephants} | set(self.node_writes))
        return {n: (sum(m.node == n for m in self.mice), sum(e.node == n for e in self.elephants)) for n in names}

    @property
    def shared_nodes(self) -> int:
        """Nodes where mice and elephants met."""
        return sum(mice > 0 and elephants > 0 for mice, elephants in self.nodes().values())


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "none shown"
    return f"{values[len(values) // 2]:.1f} s ({values[0]:.1f} to {values[-1]:.1f})"


def _times(before: float, after: float) -> str:
    return f"{before / after:.1f}x lower" if 0 < after < before else f"{after / before:.2f}x" if before else "-"


def _sent(report: RunReport) -> int:
    return sum(mouse.sent for mouse in report.mice)


def table(default: RunReport, extender: RunReport) -> Table:
    """Both runs side by side."""
    shown = Table(title="The same workload, placed by", title_justify="left")
    for heading, align in (
        ("", "left"),
        ("default scheduler", "right"),
        ("with Traffic Footprint", "right"),
        ("", "left"),
    ):
        shown.add_column(heading, justify=align)  # type: ignore[arg-type]
    pairs = ((default.p50, extender.p50), (default.p99, extender.p99), (default.p999, extender.p999))
    for name, (before, after) in zip(("mice p50", "mice p99", "mice p99.9"), pairs, strict=True):
        shown.add_row(name, _ms(before), _ms(after), _times(before, after))
    both = (default, extender)
    shown.add_row(
        f"mice requests never answered, as {DRAIN_SECONDS:g} s", *(f"{r.lost} of {_sent(r)}" for r in both)
    )
    shown.add_row(
        "elephants' goodput, mean", *(f"{r.goodput / 1e6:.1f} Mbit/s" for r in both),
        f"{extender.goodput / default.goodput:.2f}x" if default.goodput else "-",
    )  # fmt: skip
    shown.add_row("nodes with both mice and elephants", *(str(r.shared_nodes) for r in both))
    shown.add_row("elephant's start to its annotation", *(_spread(r.detection) for r in both))
    shown.add_row(
        "Node writes of the agents",
        *(f"{sum(r.node_writes.values())} in {r.seconds:.0f} s, {len(r.node_writes)} nodes" for r in both),
    )
    return shown


def placement_table(report: RunReport) -> Table:
    """Node by node: which pods ran there, and how long their mice waited."""
    shown = Table(title=f"Placement, {report.scheduler}", title_justify="left")
    for heading in ("node", "mice", "elephants", "worst mouse p99"):
        shown.add_column(heading)
    for node in report.nodes():
        here = [m for m in report.mice if m.node == node]
        shown.add_row(
            node,
            " ".join(m.workload for m in here) or "-",
            " ".join(f"{e.workload} {e.goodput / 1e6:.0f}M" for e in report.elephants if e.node == node) or "-",
            _ms(max(m.p99 for m in here)) if here else "-",
        )
    return shown


def as_json(reports: Sequence[RunReport], about: dict[str, Any]) -> bytes:
    runs = [asdict(r) | {"goodput_mean": r.goodput, "lost": r.lost, "nodes": r.nodes()} for r in reports]
    return orjson.dumps({"about": about, "runs": runs}, option=orjson.OPT_INDENT_2)


def _distribution(axes: Any, reports: Sequence[RunReport]) -> None:
    for report in reports:
        latency = [bucket for bucket in report.latency if bucket[1]]
        total, seen = sum(count for _, count in latency), 0
        if not total:
            continue
        bounds, above = [], []
        for bound, count in latency:
            seen += count
            bounds.append(bound * 1e3)
            above.append(max((total - seen) / total, 0.5 / total))
        colour = RUN_COLOURS[report.scheduler]
        label = f"{report.scheduler}: p50 {_ms(report.p50)}, p99 {_ms(report.p99)}, p99.9 {_ms(report.p999)}"
        axes.step(bounds, above, where="post", color=colour, linewidth=2, label=label)
        axes.plot([report.p99 * 1e3], [0.01], "o", color=colour)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="latency of a mouse request, ms",
        ylabel="share of requests slower than this",
    )
    axes.set_title("Mice latency (lower left is better)", loc="left")
    axes.axhline(0.01, color="#cccccc", linewidth=0.8, zorder=0)
    axes.set_ylim(top=20)  # room for the legend above the curves
    axes.legend(loc="upper right", fontsize=9, frameon=False)
    axes.grid(alpha=0.25)


def _placement(axes: Any, report: RunReport) -> None:
    nodes = report.nodes()
    for row, (mice, elephants) in enumerate(nodes.values()):
        axes.scatter(range(mice), [row] * mice, s=36, color=MICE_COLOUR)
        axes.scatter(range(mice, mice + elephants), [row] * elephants, s=190, color=ELEPHANT_COLOUR, marker="s")
    axes.set_yticks(range(len(nodes)), list(nodes))
    axes.set(xticks=[], xlim=(-0.7, 8), ylim=(len(nodes) - 0.4, -0.6))
    axes.set_title(
        f"{report.scheduler}: elephants' goodput {report.goodput / 1e6:.0f} Mbit/s each", loc="left", fontsize=10
    )
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def plot(reports: Sequence[RunReport], path: Path) -> None:
    """Latency distributions side by side with where pods went; a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - a second of import that only the report needs

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    figure = plt.figure(figsize=(12.5, 5.6), layout="constrained")
    grid = figure.add_gridspec(len(reports), 2, width_ratios=(1.5, 1))
    _distribution(figure.add_subplot(grid[:, 0]), reports)
    for row, report in enumerate(reports):
        axes = figure.add_subplot(grid[row, 1])
        _placement(axes, report)
    marks = [
        Line2D([], [], marker="o", linestyle="", color=MICE_COLOUR, label="mouse pod"),
        Line2D([], [], marker="s", markersize=11, linestyle="", color=ELEPHANT_COLOUR, label="elephant pod"),
    ]
    figure.axes[-1].legend(handles=marks, loc="lower right", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def prepare(folder: Path) -> None:
    """``folder``, made if need be. Raises OSError when nothing can be written there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(reports: Sequence[RunReport], folder: Path, about: dict[str, Any]) -> list[Path]:
    """``report.json`` and ``report.png`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture = folder / "report.json", folder / "report.png"
    data.write_bytes(as_json(reports, about))
    plot(reports, picture)
    return [data, picture]
