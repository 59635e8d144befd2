# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from footprint.classes import TrafficClass
from nodeagent.measuring.hysteresis import ClassState, observe

E, M, X, Q, U = (
    TrafficClass.ELEPHANT, TrafficClass.MOUSE, TrafficClass.MIXED, TrafficClass.QUIET, TrafficClass.UNKNOWN,
)  # fmt: skip


def believed(start: TrafficClass, shows: list[TrafficClass]) -> TrafficClass:
    """The class after ``shows``, one a second."""
    state = ClassState(start, start, 0.0)
    for second, cls in enumerate(shows, start=1):
        state = observe(state, cls, float(second))
    return state.cls


@pytest.mark.parametrize(
    ("start", "shows", "expected"),
    [
        (U, [M], U),  # an elephant's first megabytes look like a mouse
        (U, [M] * 3, M),
        (U, [E], E),
        (U, [Q] * 10, U),
        (U, [Q] * 11, Q),
        (M, [E], E),  # elephants are believed at once
        (Q, [X], X),
        (E, [M] * 15, E),  # bulk work pauses between files
        (E, [M] * 16, M),
        (E, [M] * 10 + [E] + [M] * 10, E),  # and every return starts the wait over
        (E, [X] * 5, E),
        (E, [X] * 6, X),
        (E, [M, X] * 30, E),  # what alternates is not believed
        (M, [Q] * 30, M),
        (M, [Q] * 31, Q),
        (Q, [M] * 5, Q),
        (Q, [M] * 6, M),
        (M, [U] * 60, M),  # nothing is forgotten
    ],
)
def test_another_class_is_believed_once_it_lasted(
    start: TrafficClass, shows: list[TrafficClass], expected: TrafficClass
) -> None:
    assert believed(start, shows) is expected
