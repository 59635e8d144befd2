# SPDX-License-Identifier: Apache-2.0
"""Reading what a session inside a guest reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.report import FAILED, PASSED, SKIPPED, Labelled, outcomes

REPORT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.kernel.guest.scenario_paths" name="a" time="1.5"/>
<testcase classname="tests.kernel.guest.scenario_paths" name="b[x]" time="0">
<failure message="m">long</failure></testcase>
<testcase classname="tests.kernel.guest.scenario_flows" name="c" time="0"><error message="broke"/></testcase>
<testcase classname="tests.kernel.guest.scenario_flows" name="d" time="0"><skipped message="why"/></testcase>
</testsuite></testsuites>"""


def test_each_scenario_has_its_own_outcome(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(REPORT)
    found = outcomes(report)
    assert [(outcome.name, outcome.state, outcome.message) for outcome in found] == [
        ("scenario_paths::a", PASSED, ""),
        ("scenario_paths::b[x]", FAILED, "long"),
        ("scenario_flows::c", FAILED, "broke"),
        ("scenario_flows::d", SKIPPED, "why"),
    ]
    assert found[0].seconds == 1.5


@pytest.mark.parametrize("content", [None, "", "<testsuite>"])
def test_a_missing_or_broken_report_is_an_error(tmp_path: Path, content: str | None) -> None:
    report = tmp_path / "junit.xml"
    if content is not None:
        report.write_text(content)
    with pytest.raises(ValueError, match="no readable report"):
        outcomes(report)


def test_every_line_of_a_guest_bears_its_name_however_it_comes_apart(capsys: pytest.CaptureFixture[str]) -> None:
    output = Labelled("6.1")
    for chunk in (b"one\ntw", b"o\n\xff", b"\n", b"rest"):
        output(chunk)
    output.end()
    output.end()
    assert capsys.readouterr().out == "[6.1] one\n[6.1] two\n[6.1] \ufffd\n[6.1] rest\n"


def test_a_guests_session_is_not_configured_on_this_machine(request: pytest.FixtureRequest) -> None:
    folder = Path(__file__).parent / "guest"
    loaded = [str(getattr(plugin, "__file__", "")) for plugin in request.config.pluginmanager.get_plugins()]
    assert [path for path in loaded if path.startswith(str(folder))] == []
