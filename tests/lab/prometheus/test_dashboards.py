# SPDX-License-Identifier: Apache-2.0
"""The dashboards as files. A cluster test runs their queries."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lab.docs import metrics
from lab.prometheus import dashboards

FILES = dashboards.files()


def panels(name: str) -> list[dict[str, Any]]:
    return list(dashboards._panels(json.loads(FILES[name])["panels"]))


def known() -> set[str]:
    """Names of all series that the two programs can have."""
    found = {"process_cpu_seconds_total"}
    for registry in (metrics.agent_registry(), metrics.extender_registry()):
        for family in registry.collect():
            found.add(family.name + {"counter": "_total", "info": "_info"}.get(family.type, ""))
            if family.type == "histogram":
                found.add(f"{family.name}_bucket")
    return found


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_panel_is_told_of_and_queries_what_a_program_has(name: str) -> None:
    series, board = known(), json.loads(FILES[name])
    assert board["uid"] == f"traffic-footprint-{name.removesuffix('.json')}"
    assert sorted(panel["id"] for panel in panels(name)) == list(range(1, len(panels(name)) + 1))
    shown = [panel for panel in panels(name) if panel["type"] != "row"]
    assert len(shown) >= 10
    for panel in shown:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"], panel["title"]
    for title, query in dashboards.queries(FILES[name]):
        used = set(re.findall(r"\b(?:traffic_footprint|process)_\w+", query))
        assert used, title
        assert used <= series, title


@pytest.mark.parametrize("name", sorted(FILES))
def test_panels_do_not_cover_one_another(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_same_dashboards_are_made_each_time() -> None:
    assert dashboards.files() == FILES
