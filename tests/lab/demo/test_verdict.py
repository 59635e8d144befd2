# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from lab.demo.report import RunReport
from lab.demo.verdict import judge
from tests.lab.demo.builders import better, elephant, report


def passed(default: RunReport, extender: RunReport) -> list[bool]:
    return [check.passed for check in judge(default, extender)]


def test_mice_far_better_off_and_elephants_not_worse_pass() -> None:
    assert passed(report("default"), better()) == [True, True, True]


@pytest.mark.parametrize(("p99", "passes"), [(0.02, True), (0.0201, False), (0.1, False), (0.0, False)])
def test_p99_has_to_fall_to_a_fifth(p99: float, passes: bool) -> None:
    assert passed(report("default"), better(p99=p99)) == [True, passes, True]


@pytest.mark.parametrize(("goodput", "passes"), [(250e6, True), (188.2e6, True), (188.0e6, False), (95e6, False)])
def test_goodput_may_not_fall_by_more_than_two_runs_differ_by_anyway(goodput: float, passes: bool) -> None:
    assert passed(report("default"), better(elephants=(elephant(goodput=goodput),))) == [True, True, passes]


def test_a_run_with_a_pod_without_a_result_shows_nothing_and_names_it() -> None:
    complete, *_ = judge(report("default", unplaced=("web-7",)), better())
    assert not complete.passed
    assert "web-7 (default)" in complete.found


@pytest.mark.parametrize("nobody", [{"mice": ()}, {"elephants": ()}])
def test_a_run_without_mice_or_without_elephants_shows_nothing(nobody: dict[str, tuple[()]]) -> None:
    assert not judge(report("default"), better(**nobody))[0].passed


def test_a_person_reads_each_part_with_its_figures() -> None:
    lines = [str(check) for check in judge(report("default"), better(p99=0.05))]
    assert lines == [
        "pass  every pod has a result: all",
        "FAIL  mice p99 at most 1/5 of the default scheduler's: 50.00 of 100.00 ms",
        "pass  elephants' goodput not lower (beyond 1% of noise): 190.0 of 190.0 Mbit/s",
    ]
