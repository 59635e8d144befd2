# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from lab.demo.report import placement_table, prepare, table, write
from tests.lab.demo.builders import better, elephant, mouse, report


def lines(shown: Table) -> list[str]:
    page = io.StringIO()
    Console(width=160, file=page).print(shown)
    return [" ".join(line.split()) for line in page.getvalue().splitlines()]


def row(shown: Table, name: str) -> str:
    [found] = [line for line in lines(shown) if name in line]
    return found


def test_both_runs_stand_side_by_side_with_their_ratio() -> None:
    shown = table(report("default"), better())
    assert "100.00 ms │ 2.00 ms │ 50.0x lower" in row(shown, "mice p99 ")
    assert "2.00 ms │ 2.00 ms │ 1.00x" in row(shown, "mice p50")
    assert "190.0 Mbit/s │ 190.0 Mbit/s │ 1.00x" in row(shown, "goodput")
    assert "1 │ 0" in row(shown, "nodes with both")
    assert "2.0 s (2.0 to 2.0) │ 2.0 s (2.0 to 2.0)" in row(shown, "annotation")
    assert "4 in 60 s, 2 nodes" in row(shown, "Node writes")


def test_requests_without_an_answer_are_shown() -> None:
    default = report("default", mice=(mouse(sent=100, lost=3), mouse("web-2", sent=50, lost=1)))
    assert "4 of 150 │ 0 of 100" in row(table(default, better()), "never answered")


def test_an_elephant_that_was_never_shown_and_a_run_without_figures_are_no_error() -> None:
    nothing = {"mice": (), "elephants": (), "p50": 0.0, "p99": 0.0, "p999": 0.0, "latency": (), "node_writes": {}}
    shown = table(report("default", elephants=(elephant(delay=None),)), report("extender", **nothing))
    assert "none shown │ none shown" in row(shown, "annotation")
    assert table(report("default", **nothing), report("extender", **nothing)).row_count == shown.row_count


def test_each_node_lists_who_lives_there_and_its_worst_mouse() -> None:
    shown = placement_table(report("default", mice=(mouse(p99=0.1), mouse("cart-1", "node2", p99=0.2))))
    assert "node1 │ web │ backup 190M │ 100.00 ms" in row(shown, "node1")
    assert "node2 │ cart │ - │ 200.00 ms" in row(shown, "node2")


@pytest.mark.parametrize("latency", [((0.002, 98), (0.1, 2)), ()])
def test_what_is_written_can_be_read(tmp_path: Path, latency: tuple[tuple[float, int], ...]) -> None:
    folder = tmp_path / "a" / "b"
    written = write([report("default", mice=(mouse(lost=2),)), better(latency=latency)], folder, {"seed": 7})
    assert written == [folder / "report.json", folder / "report.png"]
    data = json.loads(written[0].read_bytes())
    assert data["about"] == {"seed": 7}
    default, extender = data["runs"]
    assert (default["scheduler"], default["p99"], default["lost"]) == ("default", 0.1, 2)
    assert default["nodes"] == {"node1": [1, 1], "node2": [0, 0]}
    assert extender["goodput_mean"] == 190e6
    assert written[1].read_bytes().startswith(b"\x89PNG")


def test_a_folder_is_made_and_nothing_left_in_it(tmp_path: Path) -> None:
    prepare(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_folder_that_cannot_be_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        prepare(tmp_path / "file" / "folder")
