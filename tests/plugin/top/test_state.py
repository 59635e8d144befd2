# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.classes import TrafficClass
from plugin.top.layout import sortable
from plugin.top.state import State, View, pressed

COLUMNS = {view: sortable(view) for view in View}
KEYS = [
    *"pnr/c <>hkjgGq?x",
    "up",
    "down",
    "left",
    "right",
    "page up",
    "page down",
    "home",
    "end",
    "enter",
    "escape",
    "backspace",
    "resize",
]


def after(*keys: str, rows: int = 100, page: int = 10) -> State:
    state = State()
    for key in keys:
        state = pressed(state, key, columns=COLUMNS, rows=rows, page=page)
    return state


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ("n", State(view=View.NODES)),
        ("np", State()),
        ("r", State(reversed=True)),
        ("rr", State()),
        (">", State(sort_by="namespace")),
        ("><", State()),
        ("<", State(sort_by="seen")),
        ("c", State(cls=TrafficClass.ELEPHANT)),
        ("ccccc", State()),
        (" ", State(held=True)),
        ("q", State(ended=True)),
        ("h", State(helping=True)),
        ("hx", State()),
        ("hq", State(ended=True)),
        ("/ap", State(text="ap", typing=True)),
        ("jj", State(top=2)),
        ("jk", State()),
        ("k", State()),
        ("G", State(top=90)),
        ("Gg", State()),
    ],
)
def test_a_key_changes_one_thing(keys: str, state: State) -> None:
    assert after(*keys) == state


def test_a_filter_is_typed_kept_and_dropped() -> None:
    assert after("/", "q", "backspace", "w", "enter") == State(text="w")
    assert after("/", "w", "escape") == State()
    assert after("/", "w", "enter", "escape") == State()


def test_scrolling_ends_with_the_last_row() -> None:
    assert after("page down", "page down", rows=15).top == 5
    assert after("end", "page up", rows=100).top == 80
    assert after("down", rows=3).top == 0


@given(st.lists(st.sampled_from(KEYS), max_size=40), st.integers(0, 50), st.integers(1, 20))
def test_no_keys_lead_astray(keys: list[str], rows: int, page: int) -> None:
    state = State()
    for key in keys:
        state = pressed(state, key, columns=COLUMNS, rows=rows, page=page)
        assert 0 <= state.top <= max(rows - page, 0)
        assert state.left >= 0
        assert state.sort_by in ("", *COLUMNS[state.view])
