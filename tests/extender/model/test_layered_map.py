# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.layered_map import MAX_CHANGED, Layered

keys = st.sampled_from("abcdefgh")
versions = st.lists(st.tuples(st.dictionaries(keys, st.integers()), st.frozensets(keys, max_size=2)), max_size=12)


@given(st.dictionaries(keys, st.integers()), versions)
def test_every_version_reads_like_a_dict_with_the_same_history(
    first: dict[str, int], steps: list[tuple[dict[str, int], frozenset[str]]]
) -> None:
    plain, ours = dict(first), Layered(first)
    history: list[tuple[dict[str, int], Layered[int]]] = []
    for changed, gone in steps:
        history.append((plain, ours))
        plain = {key: value for key, value in {**plain, **changed}.items() if key not in gone}
        ours = ours.after(changed, gone)
        assert ours == plain
    for before, kept in [*history, (plain, ours)]:
        assert (dict(kept.items()), len(kept), set(kept)) == (before, len(before), set(before))
        assert sorted(kept.values()) == sorted(before.values())
        assert [kept.get(key) for key in "abcdefgh"] == [before.get(key) for key in "abcdefgh"]
        assert [key in kept for key in "abcdefgh"] == [key in before for key in "abcdefgh"]


def test_what_a_caller_does_to_its_own_dict_changes_no_version() -> None:
    given_away = {"a": 1}
    kept = Layered(given_away)
    given_away["a"] = 2
    assert kept["a"] == 1


def test_a_change_copies_the_few_newer_entries_and_all_of_them_only_once_in_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Layered._whole
    copies: list[int] = []

    def counted(self: Layered[int]) -> dict[str, int]:
        copies.append(len(self))
        return whole(self)

    monkeypatch.setattr(Layered, "_whole", counted)
    version: Layered[int] = Layered({str(number): 0 for number in range(5000)})
    for number in range(3 * MAX_CHANGED):
        version = version.after({str(number): 1})
    assert len(copies) in (2, 3)
    assert sum(version.values()) == 3 * MAX_CHANGED
