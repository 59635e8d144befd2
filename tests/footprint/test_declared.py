# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode, Rebalance, declared_by, rebalance_of
from footprint.keys import (
    POD_CLASS,
    POD_EGRESS_LIMIT,
    POD_EXPECTED_BANDWIDTH,
    POD_INGRESS_LIMIT,
    POD_PLACEMENT,
    POD_WORKLOAD,
    REBALANCE,
)

KEYS = [POD_CLASS, POD_EXPECTED_BANDWIDTH, POD_PLACEMENT, POD_WORKLOAD, POD_EGRESS_LIMIT, POD_INGRESS_LIMIT]


def test_what_users_say_is_understood() -> None:
    said = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "400M", POD_PLACEMENT: "strict", "other": "x"}
    assert declared_by(said) == Declared(TrafficClass.ELEPHANT, 400e6, PlacementMode.STRICT)


def test_limits_of_kubernetes_own_annotations_are_read_and_never_judged() -> None:
    said = {POD_EGRESS_LIMIT: "100M", POD_INGRESS_LIMIT: "much"}
    assert declared_by(said) == Declared(tx_limit=100e6)


@pytest.mark.parametrize("absent", [None, {}, {"some.other/class": "elephant"}, "hostile"])
def test_nothing_said_is_no_wish_and_no_problem(absent: object) -> None:
    assert declared_by(absent) == Declared()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        (POD_CLASS, "Elephant", "use elephant or mouse"),
        (POD_CLASS, "quiet", "use elephant or mouse"),  # a measured class, but not one to declare
        (POD_PLACEMENT, "hard", "use score, prefer, strict or ignore"),
        (POD_EXPECTED_BANDWIDTH, "fast", "such as 400M"),
        (POD_EXPECTED_BANDWIDTH, 400, "such as 400M"),
        (POD_WORKLOAD, "a b", "use a name"),
        (POD_CLASS, ["elephant"], "use elephant or mouse"),
    ],
)
def test_an_unknown_value_is_reported_with_its_remedy_and_treated_as_absent(
    key: str, value: object, remedy: str
) -> None:
    declared = declared_by({key: value})
    assert (declared.cls, declared.bandwidth, declared.placement) == (None, None, None)
    [problem] = declared.problems
    assert problem.key == key
    assert remedy in problem.message


@given(st.dictionaries(st.sampled_from(KEYS), st.text() | st.integers() | st.none() | st.lists(st.text())))
def test_any_annotations_give_wishes_and_one_problem_each_at_most(said: dict[str, object]) -> None:
    declared = declared_by(said)
    assert {problem.key for problem in declared.problems} <= set(said)
    assert all(len(problem.message) < 300 and problem.message.isprintable() for problem in declared.problems)


@pytest.mark.parametrize(
    ("value", "meant", "problems"),
    [
        ("allow", Rebalance.ALLOW, 0),
        ("never", Rebalance.NEVER, 0),
        ("nevr", Rebalance.NEVER, 1),
        (7, Rebalance.NEVER, 1),
    ],
)
def test_a_word_about_moves_that_is_not_understood_means_never(
    value: object, meant: Rebalance, problems: int
) -> None:
    declared = declared_by({REBALANCE: value})
    assert declared.rebalance is rebalance_of({REBALANCE: value}) is meant
    assert len(declared.problems) == problems
    assert rebalance_of({}) is declared_by({}).rebalance is None
