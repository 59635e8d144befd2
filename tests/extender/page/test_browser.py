# SPDX-License-Identifier: Apache-2.0
"""The page in a headless Chromium, over a computed cluster of 5,000 nodes that goes on changing.

One visit each: light, dark, a phone; with the keyboard alone and with the mouse; axe-core's checks. The pictures
stay in ``build/page``. Frame times and memory are in what the first test prints; nothing asserts a time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lab.page import tools

NODES: Final = 5000
PICTURES: Final = Path(__file__).parents[3] / "build" / "page"

pytestmark = pytest.mark.skipif(
    tools.chromium() is None or tools.npm() is None,
    reason="the page needs a browser: apt-get install chromium nodejs npm",
)


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """What the browser found."""
    command = [sys.executable, "-m", "lab.bench.extender.page_cluster", "--nodes", str(NODES), "--pods", "8"]
    command += ["--asks", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TZ": "UTC"})
    try:
        assert process.stdout is not None
        _, port = process.stdout.readline().split()
        yield tools.look(f"http://127.0.0.1:{port}/page/", PICTURES)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if process.stdout:
            process.stdout.close()


@pytest.mark.timeout(600)
def test_every_node_is_there_and_nothing_is_loaded_from_elsewhere(seen: dict[str, Any]) -> None:
    """Also: the policy refuses nothing, no script fails, and nothing is written to the console."""
    print({key: seen["desktop"][key] for key in ("pan", "painted", "heap")})
    assert seen["problems"] == []
    assert seen["desktop"]["nodes"] == NODES


def test_the_map_is_walked_with_the_keyboard(seen: dict[str, Any]) -> None:
    desktop = seen["desktop"]
    assert desktop["said"].startswith(f"{desktop['picked']}, group eu-west-1a: ")
    assert desktop["heading"] == f"Node {desktop['picked']}"
    assert desktop["focused"] == "node-heading"
    assert desktop["closed"] is True


def test_a_node_says_where_its_figures_come_from(seen: dict[str, Any]) -> None:
    for fact in ("Source", "Coverage", "Health", "Capacity", "Mice beside elephants"):
        assert fact in seen["desktop"]["facts"]
    assert not [word for word in ("null", "undefined", "NaN") if word in seen["desktop"]["body"]]


def test_a_click_opens_a_node_and_tables_filter_and_sort(seen: dict[str, Any]) -> None:
    desktop = seen["desktop"]
    assert (desktop["clicked"], desktop["filtered"], desktop["sorted"]) == (True, 1, "ascending")
    assert desktop["workloads"] == 50


def test_decisions_appear_with_their_reasons_and_filter(seen: dict[str, Any]) -> None:
    desktop = seen["desktop"]
    assert "Deployment/service-" in desktop["decisions"]
    assert "kubectl footprint explain -n production" in desktop["why"]
    shown, filtered = desktop["none"]
    assert shown > 0
    assert filtered == 0


def test_a_decision_links_to_its_explanation(seen: dict[str, Any]) -> None:
    """By an address of its own, which opens it for others as well."""
    explained = seen["desktop"]["explained"]
    pod = explained["heading"].removeprefix("Explanation of production/")
    assert explained["address"].endswith(f"/page/#explain/production/{pod}")
    assert pod.startswith("service-")
    assert explained["focused"] == "explain-heading"
    for fact in ("Demand", "Placement", "pass,", "nodes are left out"):
        assert fact in explained["body"]
    assert not [word for word in ("null", "undefined", "NaN") if word in explained["body"]]
    assert 0 < explained["rows"] <= 200
    assert explained["closed"] is True


@pytest.mark.parametrize("visit", ["light-axe", "dark", "phone"])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_screen(seen: dict[str, Any], visit: str) -> None:
    assert seen[visit]["violations"] == []
    assert seen[visit]["wide"] <= 0


def test_the_pictures_are_there(seen: dict[str, Any]) -> None:
    assert all((PICTURES / name).stat().st_size > 10_000 for name in seen["pictures"])
