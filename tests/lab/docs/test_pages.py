# SPDX-License-Identifier: Apache-2.0
"""Pages and pictures that are made from the code are up to date, and say everything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as ET

import pytest

from extender.settings import Settings
from footprint import keys
from footprint.declared import PlacementMode
from lab.docs import pages, pictures
from lab.docs.__main__ import main, problems
from lab.docs.figures import figures
from lab.docs.tables import attribute_docs, filled, markdown
from lab.errors import LabError
from nodeagent.measuring.coverage import LOW_COVERAGE
from nodeagent.measuring.links import NOT_KNOWN
from nodeagent.measuring.truth import COUNTED_TOO_MUCH
from nodeagent.measuring.unseen import REASONS
from nodeagent.settings import AgentSettings, TopSettings
from nodeagent.sources.base import LossKind

REFERENCE = pages.CHECKOUT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def test_nothing_is_wrong_with_the_documentation() -> None:
    assert list(problems(pages.CHECKOUT)) == []


@pytest.mark.parametrize("model", [AgentSettings, TopSettings, Settings])
def test_every_flag_is_in_the_reference_with_its_variable(model: type[Settings]) -> None:
    shown = page("flags.md")
    for name in model.model_fields:
        assert f"`TRAFFIC_FOOTPRINT_{name.upper()}`" in shown


def test_every_annotation_is_in_the_reference() -> None:
    shown = page("annotations.md")
    named = [value for name, value in vars(keys).items() if name.startswith(("POD_", "NODE_"))]
    assert len(named) == 10
    assert [key for key in named if f"`{key}`" not in shown] == []
    assert [mode for mode in PlacementMode if f"| `{mode.value}` |" not in shown] == []


def test_every_kind_of_loss_has_a_cause_and_a_remedy() -> None:
    headings = re.findall(
        r"^### (.+)$", (pages.CHECKOUT / "docs/how-to/debug-missing-bytes.md").read_text(), re.MULTILINE
    )
    told = {reason for heading in headings for reason in heading.split(", ")}
    assert {kind.value for kind in LossKind} | {LOW_COVERAGE, COUNTED_TOO_MUCH, NOT_KNOWN, *REASONS} == told


def test_metrics_of_both_programs_are_in_the_reference() -> None:
    shown = page("metrics.md")
    for name in (
        "agent_coverage_ratio", "agent_losses_total", "agent_read_duration_seconds", "extender_requests_total",
        "extender_nodes", "extender_learning_leads", "extender_shadow_collisions_total",
        "extender_watch_connected",
    ):  # fmt: skip
        assert f"| `traffic_footprint_{name}` |" in shown


def test_every_metric_that_a_page_names_exists() -> None:
    known = set(re.findall(r"\| `(traffic_footprint_\w+)` \|", page("metrics.md")))
    for path in sorted((pages.CHECKOUT / "docs").rglob("*.md")):
        for name in re.findall(r"traffic_footprint_(?:agent|extender)_\w+", path.read_text()):
            families = {family for family in known if name in (family, f"{family}_bucket", f"{family}_count")}
            assert families or name.endswith("_"), f"{path.name} names {name}"


def test_the_picture_of_the_gain_shows_the_measured_figures() -> None:
    drawn = pictures.drawn(pages.CHECKOUT)["gain.svg"]
    measured = figures((pages.CHECKOUT / "docs" / "explanation" / "measurements.md").read_text())
    assert (measured.p99_before, measured.p99_after, measured.times) == (119, 1.7, 72)
    for shown in ("119 ms", "1.7 ms", "191.1 Mbit/s", "72 times lower"):
        assert shown in drawn


@pytest.mark.parametrize("name", ["gain.svg", "architecture.svg", "cost-curve.svg", "elephant-life.svg"])
def test_pictures_are_well_formed_and_follow_the_reader_into_the_dark(name: str) -> None:
    drawn = pictures.drawn(pages.CHECKOUT)[name]
    root = ET.fromstring(drawn)  # noqa: S314 - our own text
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 < float(text.attrib["x"]) < width
        assert 0 < float(text.attrib["y"]) < height
    assert "prefers-color-scheme: dark" in drawn


def test_a_picture_without_its_figures_is_an_error() -> None:
    with pytest.raises(LabError, match="mice p99"):
        figures("# Measurements\n")


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(LabError, match="markers"):
        filled("nothing", {"flags": "x"})


def test_only_what_is_between_the_markers_changes() -> None:
    before = "a\n<!-- made: x -->\nold\n<!-- end -->\nb\n<!-- made: y -->\nkept\n<!-- end -->\n"
    after = filled(before, {"x": "new"})
    assert after == before.replace("old", "\nnew")
    assert filled(after, {"x": "new"}) == after


def test_a_bar_inside_a_cell_does_not_end_it() -> None:
    assert markdown(["a"], [["x|y\nz"]]) == "| a |\n| --- |\n| x\\|y z |\n"


def test_attributes_are_described_by_the_text_below_them() -> None:
    class Sample:
        first: Annotated[int, "x"] = 1
        """The first."""
        second: int = 2

    assert attribute_docs(Sample) == {"first": "The first."}


def test_a_page_that_differs_from_the_code_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "docs" / "reference" / "flags.md"
    changed.parent.mkdir(parents=True)
    changed.write_text("old")
    monkeypatch.setattr(pages, "CHECKOUT", tmp_path)
    monkeypatch.setattr(pages, "made", lambda: iter([(changed, "new")]))
    assert pages.stale() == ["docs/reference/flags.md: differs from the code; run `python -m lab.docs write`"]
    assert main(["write"]) == 0
    assert (changed.read_text(), pages.stale()) == ("new", [])
