# SPDX-License-Identifier: Apache-2.0
"""The pictures of the documentation, as SVG.

Enters: the measured figures, the cost model itself. Leaves: file names and their texts. Pure but for reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from extender.model.cost import CEILING, SATURATED, waiting
from extender.placement.scoring import BEST, score_table
from lab.docs.figures import Figures, figures
from lab.docs.svg import Point, bar, box, dot, path, picture, text


def drawn(checkout: Path) -> dict[str, str]:
    """Every picture by its file's name."""
    measured = figures((checkout / "docs" / "explanation" / "measurements.md").read_text())
    return {
        "gain.svg": picture(890, 250, _gain_title(measured), _gain(measured)),
        "architecture.svg": picture(
            980, 300, "conntrack, node agent, API server, extender and kube-scheduler", _architecture()
        ),
        "cost-curve.svg": picture(980, 400, "The wait W(u) = u / (1 - u), and the scores of costs", _cost_curve()),
        "elephant-life.svg": picture(
            980, 330, "An elephant's life, from its first packet to the annotation", _elephant_life(measured)
        ),
    }


def _gain_title(measured: Figures) -> str:
    return (
        f"Mice p99 falls from {measured.p99_before:g} to {measured.p99_after:g} ms; elephants keep their goodput"
    )


def _gain(measured: Figures) -> Iterator[str]:
    rows = (
        ("default scheduler", measured.p99_before, measured.goodput_before, "before"),
        ("with Traffic Footprint", measured.p99_after, measured.goodput_after, ""),
    )
    yield text((185, 34), "Mice: p99 of a small request", "big")
    yield text((185, 56), f"lower is better: {measured.times:g} times lower", "small muted")
    yield text((575, 34), "Elephants: goodput of each", "big")
    yield text((575, 56), "higher is better: kept", "small muted")
    for number, (name, p99, goodput, style) in enumerate(rows):
        y = 84 + 62 * number
        yield text((170, y + 25), name, "", "end")
        yield bar((185, y), (230 * p99 / measured.p99_before, 38), style or "mice")
        yield text((195 + 230 * p99 / measured.p99_before, y + 25), f"{p99:g} ms")
        yield bar((575, y), (170 * goodput / measured.goodput_before, 38), style or "elephant")
        yield text((585 + 170 * goodput / measured.goodput_before, y + 25), f"{goodput:g} Mbit/s")
    yield text(
        (185, 228),
        "make demo: 8 nodes with 200 Mbit/s links, 7 mice pods, 4 elephants; median of three runs",
        "small muted",
    )


def _architecture() -> Iterator[str]:
    yield text((20, 40), "on every node", "small muted")
    yield '<rect class="line" x="12" y="52" width="398" height="156" rx="10" stroke-dasharray="5 5"/>'
    yield box((28, 75), (150, 110), ("kernel", "conntrack knows", "every flow and", "counts its bytes"))
    yield box((240, 75), (155, 110), ("node agent", "whose flow is it?", "elephant or mouse?", "worth a write?"))
    yield box((480, 75), (165, 110), ("API server", "Node annotations", "Lease: heartbeat", "TrafficFootprints"))
    yield box(
        (730, 20),
        (230, 105),
        ("extender", "predicts the pod's traffic,", "filters and scores nodes,", "learns workloads"),
    )
    yield box((730, 190), (230, 80), ("kube-scheduler", "asks before the pod starts,", "binds the pod"))
    for x0, x1, y in ((178, 240, 130), (395, 480, 130), (645, 730, 85)):
        yield path(((x0, y), (x1, y)), ends="end")
    yield path(((800, 190), (800, 125)), ends="end")
    yield path(((890, 125), (890, 190)), ends="end")
    yield text((792, 150), "/filter", "small muted", "end")
    yield text((792, 167), "/prioritize", "small muted", "end")
    yield text((898, 162), "verdict", "small muted")
    yield path(((730, 230), (562, 230), (562, 185)), ends="end")
    yield text((575, 250), "bind", "small muted")
    yield text((209, 120), "flows", "small muted", "middle")
    yield text((437, 120), "writes", "small muted", "middle")
    yield text((687, 75), "watch", "small muted", "middle")


def _axes(at: Point, size: Point, xs: list[tuple[float, str]], ys: list[tuple[float, str]]) -> Iterator[str]:
    """Axes at ``at`` (their lower left corner); ticks as (part of the axis, label)."""
    (x, y), (width, height) = at, size
    for part, label in ys:
        yield path(((x, y - part * height), (x + width, y - part * height)), "grid")
        yield text((x - 10, y - part * height + 5), label, "small muted", "end")
    for part, label in xs:
        yield path(((x + part * width, y), (x + part * width, y + 6)), "axis")
        yield text((x + part * width, y + 24), label, "small muted", "middle")
    yield path(((x, y), (x + width, y)), "axis")


def _cost_curve() -> Iterator[str]:
    (x, y), (width, height), most = (70.0, 320.0), (440.0, 250.0), 20.0

    def place(u: float, wait: float) -> Point:
        return x + u * width, y - wait / most * height

    yield text((70, 36), "Waiting: W(u) = u / (1 - u)", "big")
    ticks = [(u, f"{u:g}") for u in (0, 0.2, 0.5, 0.8, 0.9, 1)]
    yield from _axes((x, y), (width, height), ticks, [(w / most, f"{w:g}") for w in (0, 5, 10, 15, 19)])
    below = [step / 100 for step in range(round(SATURATED * 100))]
    yield path(
        [place(u, waiting(u)) for u in below] + [place(SATURATED, SATURATED / (1 - SATURATED))], "elephant-line"
    )
    yield path([place(SATURATED, waiting(SATURATED)), place(1.0, waiting(1.0))], "elephant-line")
    jump = (place(SATURATED, SATURATED / (1 - SATURATED)), place(SATURATED, waiting(1.0)))
    yield path(jump, "axis")
    for u, above, words in (
        (0.2, 14, "0.25: nobody notices"),
        (0.5, 24, "1: a whole service time"),
        (0.8, 12, "4"),
    ):
        at = place(u, waiting(u))
        yield dot(at, "elephant")
        yield text((at[0] + 8, at[1] - above), words, "small", "end" if u > 0.2 else "middle")
    yield text(
        (x + 0.88 * width, y - 19 / most * height - 10),
        f"full: W({CEILING:g}) = {waiting(1.0):.0f}",
        "small",
        "end",
    )
    yield text((x + width / 2, y + 50), "u: share of the link that elephants use", "small muted", "middle")
    yield text((x - 40, y - height - 12), "service times", "small muted")
    yield from _scores((610.0, 320.0), (330.0, 250.0))


def _scores(at: Point, size: Point) -> Iterator[str]:
    """The worked example's nodes on the scale from 10 to 0."""
    (x, y), (width, height), most = at, size, 20.0
    yield text((x, 36), "Scores, where 20 is the dearest", "big")
    ticks = [(cost / most, f"{cost:g}") for cost in (0, 5, 10, 15, 20)]
    yield from _axes(at, size, ticks, [(score / BEST, f"{score}") for score in (0, 5, 10)])
    costs = [step / 10 for step in range(201)]
    exact = [BEST * (math.log1p(most) - math.log1p(cost)) / math.log1p(most) for cost in costs]
    yield path(
        [(x + c / most * width, y - s / BEST * height) for c, s in zip(costs, exact, strict=True)], "mice-line"
    )
    given = score_table([0.0, 4.7, most])
    for cost, name in ((0.0, "a"), (4.7, "b"), (most, "c")):
        place = (x + cost / most * width, y - given[cost] / BEST * height)
        yield dot(place, "mice")
        yield text(
            (place[0] + 10, place[1] - (26 if cost == most else 10)),
            f"node {name}: {given[cost]}",
            "small",
            "end" if cost == most else "start",
        )
    yield text((x + width / 2, y + 50), "cost in service times", "small muted", "middle")


def _elephant_life(measured: Figures) -> Iterator[str]:
    least, most = measured.annotation
    yield text((20, 34), "An elephant's life", "big")
    steps = (
        ("first packet", "conntrack makes", "an entry"),
        ("10 MiB, 10 Mbit/s", "the flow crosses", "both thresholds"),
        ("the agent knows", "", ""),
        ("a rate is known", "second reading", "half a second later"),
        ("worth a write", "class, rates, share", "urgent: at once"),
        ("annotation", "extender and", "people see it"),
    )
    xs = [85 + 162 * number for number in range(len(steps))]
    yield path(((xs[0], 105), (xs[-1] + 60, 105)), ends="end")
    for place, (name, *more) in zip(xs, steps, strict=True):
        yield dot((place, 105), "elephant")
        yield text((place, 82), name, "", "middle")
        for row, words in enumerate(more):
            yield text((place, 135 + 18 * row), words, "small muted", "middle")
    yield text((xs[2], 135), "kernel event, or", "small muted", "middle")
    yield text((xs[2], 153), "the next dump", "small muted", "middle")
    for row, (source, known, decided) in enumerate((
        ("eBPF", f"{measured.event_ms:g} ms", f"{measured.decision_ebpf:g} s"),
        ("ctnetlink", "up to 1 s", f"{measured.decision_ctnetlink:g} s"),
    )):  # fmt: skip
        y = 196 + 36 * row
        yield text((xs[0] - 65, y + 5), source, "big")
        yield path(((xs[1], y), (xs[4], y)), "line", "start end")
        yield dot((xs[2], y), "mice")
        yield text((xs[2], y - 10), known, "small", "middle")
        yield text((xs[4] + 12, y + 5), decided, "small")
    yield path(((xs[0], 278), (xs[5], 278)), "line", "start end")
    yield text(
        ((xs[0] + xs[5]) / 2, 300),
        f"{least:g} to {most:g} s from its first byte to its annotation, in the demo (ctnetlink, 200 Mbit/s)",
        "small", "middle",
    )  # fmt: skip
