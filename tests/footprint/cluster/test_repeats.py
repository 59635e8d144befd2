# SPDX-License-Identifier: Apache-2.0
"""A failure that goes on is said when it begins and now and then; another reason is said at once."""

from __future__ import annotations

from footprint.cluster.repeats import MOST, Repeats


def test_one_line_when_it_begins_and_few_while_it_lasts() -> None:
    repeats, error = Repeats(), OSError("away")
    assert [n for n in range(1, 301) if repeats.tells(n, error)] == [1, 10, 100, 200, 300]


def test_another_reason_is_said_at_once_and_once() -> None:
    repeats, away, refused = Repeats(), OSError("away"), OSError("certificate is not yet valid")
    assert [repeats.tells(n, error) for n, error in enumerate([away, refused, away, refused], 1)] == [
        True, True, False, False,
    ]  # fmt: skip


def test_the_same_reason_is_said_again_after_a_success() -> None:
    repeats, error = Repeats(), OSError("away")
    assert repeats.tells(1, error)
    assert not repeats.tells(2, error)
    assert repeats.tells(1, error)


def test_texts_that_differ_each_time_do_not_fill_the_log() -> None:
    repeats = Repeats()
    assert sum(repeats.tells(n, OSError(f"from port {n}")) for n in range(1, 100)) == MOST + 1, "and the tenth"
