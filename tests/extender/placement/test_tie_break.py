# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.placement.tie_break import break_tie

names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True)


@given(names, st.data(), st.text(max_size=36))
def test_one_node_is_best_and_it_was_among_the_best(candidates: list[str], data: st.DataObject, uid: str) -> None:
    scores = data.draw(st.lists(st.integers(0, 10), min_size=len(candidates), max_size=len(candidates)))
    after, chosen = break_tie(candidates, scores, uid)
    assert [name for name, score in zip(candidates, after, strict=True) if score == max(after)] == [chosen]
    assert scores[candidates.index(str(chosen))] == max(scores)
    assert all(0 <= score <= 10 and abs(score - old) <= 1 for score, old in zip(after, scores, strict=True))


@given(names, st.text(max_size=36))
def test_every_replica_chooses_alike(candidates: list[str], uid: str) -> None:
    equal = [5] * len(candidates)
    assert break_tie(list(candidates), equal, uid) == break_tie(list(candidates), equal, uid)


def test_pods_choose_differently_among_equals() -> None:
    nodes = [f"node{n}" for n in range(8)]
    chosen = [break_tie(nodes, [10] * 8, f"pod-{n}")[1] for n in range(400)]
    assert all(20 <= chosen.count(node) <= 90 for node in nodes), "about 50 each"


@pytest.mark.parametrize(("scores", "after"), [([10, 3, 0], [10, 3, 0]), ([5], [6]), ([10], [10])])
def test_a_clear_winner_stays_the_winner(scores: list[int], after: list[int]) -> None:
    assert break_tie([f"n{i}" for i in range(len(scores))], scores, "u") == (after, "n0")


def test_without_candidates_there_is_no_choice() -> None:
    assert break_tie([], [], "u") == ([], None)
