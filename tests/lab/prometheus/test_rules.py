# SPDX-License-Identifier: Apache-2.0
"""The chart's rules under promtool, and each alert's page for the person that it wakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.manifests import CHART, CHECKOUT
from lab.prometheus import binaries

RULES = sorted((CHART / "files" / "monitoring").glob("*-rules.yaml"))
TESTS = sorted(Path(__file__).parent.glob("*-rules.yaml"))
RUNBOOKS = CHECKOUT / "docs" / "how-to" / "operate.md"
PARTS = ("*Symptom.*", "*Meaning.*", "*Look closer.*", "*Remedy.*")


def rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def runbooks() -> dict[str, str]:
    """The section of each alert, by its heading."""
    parts = re.split(r"^### (TrafficFootprint\w+)$", RUNBOOKS.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    assert [path.name for path in RULES] == ["extender-rules.yaml", "nodeagent-rules.yaml"]
    assert binaries.rules_problems(RULES) == ""


def test_the_rules_do_what_promtools_tests_of_them_say() -> None:
    assert binaries.tests_problems(TESTS) == ""


def test_a_rule_that_does_something_else_would_be_noticed(tmp_path: Path) -> None:
    for path in (*RULES, *TESTS):
        text = path.read_text().replace("../../../helm/traffic-footprint/files/monitoring/", "rules-")
        (tmp_path / (f"rules-{path.name}" if path in RULES else path.name)).write_text(text)
    copied = [tmp_path / path.name for path in TESTS]
    assert binaries.tests_problems(copied) == ""
    weakened = tmp_path / "rules-nodeagent-rules.yaml"
    weakened.write_text(weakened.read_text().replace("> 0.8", "> 0.95"))
    assert "TrafficFootprintMapNearlyFull" in binaries.tests_problems(copied)


def test_every_alert_and_record_is_seen_by_promtools_tests() -> None:
    tested = "".join(path.read_text() for path in TESTS)
    for name in alerts():
        assert f"alertname: {name}\n        exp_alerts:" in tested, name
    records = {rule["record"] for rule in rules() if "record" in rule}
    assert {name for name in records if name not in tested} == set()


def test_every_alert_has_a_runbook_with_all_its_parts_and_links_to_it() -> None:
    sections = runbooks()
    assert set(sections) == set(alerts())
    for name, text in sections.items():
        at = [text.find(part) for part in PARTS]
        assert min(at) >= 0, (name, PARTS[at.index(min(at))])
        assert at == sorted(at), name
        assert alerts()[name]["annotations"]["runbook"] == f"docs/how-to/operate.md#{name.lower()}"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_what_how_bad_and_after_how_long(name: str) -> None:
    rule = alerts()[name]
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in ("warning", "info")
    assert re.fullmatch(r"\d+[mh]", rule["for"])
