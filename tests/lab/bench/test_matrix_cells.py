# SPDX-License-Identifier: Apache-2.0
"""What the matrix makes of the programs' output."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from lab.bench.matrix.cells import (
    DEFAULT,
    EGRESS,
    OURS,
    Cell,
    Figures,
    Window,
    answered,
    as_json,
    figures,
    from_json,
    goodput,
    mixed_nodes,
    table,
)


def log(*objects: dict[str, Any]) -> str:
    return "\n".join(json.dumps(each) for each in objects)


def mouse_line(at: float, **buckets: int) -> dict[str, Any]:
    return {"progress": 1, "monotonic": at, "recent": {name.removeprefix("us"): n for name, n in buckets.items()}}


MOUSE = log(
    {"starting": True, "monotonic": 9.0},
    mouse_line(10.0, us50=100),
    mouse_line(11.0, us60=3),
    mouse_line(12.0, us100=1),
    mouse_line(13.0, us70=1000),
)


def test_only_what_was_answered_within_the_window_counts() -> None:
    assert answered(MOUSE, Window(10.0, 12.5)) == {60: 3, 100: 1}


def test_a_slice_that_began_before_the_window_does_not_count() -> None:
    assert answered(MOUSE, Window(10.5, 12.5)) == {100: 1}


def test_the_first_line_has_no_known_beginning() -> None:
    assert answered(MOUSE, Window(0.0, 10.0)) == {}


def test_a_line_cut_short_costs_nothing_else() -> None:
    assert answered(MOUSE + '\n{"recent": {"5', Window(10.0, 12.5)) == {60: 3, 100: 1}


def elephant(*readings: tuple[float, int]) -> str:
    return log(*({"progress": done, "started": True, "monotonic": at} for at, done in readings))


def test_goodput_is_between_the_first_and_the_last_reading_of_the_window() -> None:
    readings = elephant((1.0, 0), (2.0, 1_000_000), (4.0, 3_000_000), (5.0, 9_000_000))
    assert goodput(readings, Window(1.5, 4.5)) == 8e6


def test_a_window_with_one_reading_has_no_goodput() -> None:
    with pytest.raises(ValueError, match="--seconds"):
        goodput(elephant((1.0, 0), (2.0, 5)), Window(1.5, 3.0))


def test_an_elephant_that_has_not_begun_has_no_goodput() -> None:
    waiting = log(*({"progress": 0, "started": False, "monotonic": at} for at in (1.0, 2.0, 3.0)))
    with pytest.raises(ValueError, match="figures"):
        goodput(waiting, Window(0.0, 4.0))


def test_a_cell_without_answers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no mouse"):
        figures([log({"starting": True})], [], Window(0.0, 9.0), 0)


def test_figures_are_of_all_mice_and_all_elephants() -> None:
    each = elephant((10.0, 0), (12.0, 2_500_000))
    found = figures([MOUSE, MOUSE], [each, each], Window(10.0, 12.0), 1)
    assert (found.answered, found.goodput, found.mixed) == (8, 20e6, 1)
    assert found.p50 == pytest.approx(0.06)
    assert found.p999 == pytest.approx(0.1)


def test_mixed_nodes_have_both() -> None:
    assert mixed_nodes(["a", "b", "b"], ["b", "c"]) == 1


def test_the_table_has_every_cell_and_the_floor() -> None:
    one = Figures(1.0, 2.0, 3.0, 100, 200e6, 1)
    found = {Cell(EGRESS, queue, placement): one for queue in ("FIFO", "fq") for placement in (DEFAULT, OURS)}
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table(found, Figures(0.1, 0.2, 0.3, 100, 0.0, 0)))
    text = console.export_text()
    assert text.count("1.00 / 2.0 / 3.0; 200") == 4
    assert "0.10 / 0.2 / 0.3" in text
    floor = Figures(0.1, 0.2, 0.3, 7, 0.0, 0)
    assert from_json(json.loads(json.dumps(as_json(found, floor)))) == (found, floor)
