# SPDX-License-Identifier: Apache-2.0
"""What a person chose with keys. Pure: a state and a key in, a state out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from footprint.classes import TrafficClass

ELEPHANTS_FIRST: Final = ""
"""Sorted by no column, but by elephant traffic."""
LONGEST_FILTER: Final = 200
_CLASSES: Final = (None, TrafficClass.ELEPHANT, TrafficClass.MIXED, TrafficClass.MOUSE, TrafficClass.QUIET)


class View(StrEnum):
    """What has a row."""

    PODS = "pods"
    NODES = "nodes"


@dataclass(frozen=True, slots=True)
class State:
    """See the module."""

    view: View = View.PODS
    sort_by: str = ELEPHANTS_FIRST
    reversed: bool = False
    text: str = ""
    """Only rows in which it stands."""
    typing: bool = False
    """Keys go into ``text``."""
    cls: TrafficClass | None = None
    """Only pods of it."""
    held: bool = False
    """The picture does not move."""
    top: int = 0
    """Rows above the first one shown."""
    left: int = 0
    """Columns of the terminal that are scrolled out on the left."""
    helping: bool = False
    ended: bool = False


def pressed(state: State, key: str, *, columns: Mapping[View, list[str]], rows: int, page: int) -> State:
    """``state`` after ``key``, which is a character or a name such as ``up``.

    ``columns``: what each view can be sorted by. ``rows``: how many there are. ``page``: how many are shown.
    """
    if state.typing:
        return _typed(state, key)
    if state.helping:
        return replace(state, helping=False, ended=key == "q")
    if key in _STEPS or key in _ENDS:
        by_rows, by_pages = _STEPS.get(key, (0, 0))
        top = _ENDS[key] * rows if key in _ENDS else state.top + by_rows + by_pages * page
        return replace(state, top=min(max(top, 0), max(rows - page, 0)))
    if key in ("<", ">"):
        return replace(state, sort_by=_next(state, columns[state.view], 1 if key == ">" else -1), top=0)
    changed = _KEYS.get(key)
    return changed(state) if changed is not None else state


def _typed(state: State, key: str) -> State:
    if key == "enter":
        return replace(state, typing=False)
    if key == "escape":
        return replace(state, typing=False, text="", top=0)
    if key == "backspace":
        return replace(state, text=state.text[:-1], top=0)
    if len(key) == 1 and key.isprintable() and len(state.text) < LONGEST_FILTER:
        return replace(state, text=state.text + key, top=0)
    return state


def _next(state: State, names: list[str], step: int) -> str:
    ring = [ELEPHANTS_FIRST, *names]
    at = ring.index(state.sort_by) if state.sort_by in ring else 0
    return ring[(at + step) % len(ring)]


def _next_class(state: State) -> State:
    return replace(state, cls=_CLASSES[(_CLASSES.index(state.cls) + 1) % len(_CLASSES)], top=0)


def _seen(state: State, view: View) -> State:
    return replace(state, view=view, sort_by=ELEPHANTS_FIRST, reversed=False, top=0, left=0)


_STEPS: Final = {"up": (-1, 0), "k": (-1, 0), "down": (1, 0), "j": (1, 0), "page up": (0, -1), "page down": (0, 1)}
"""Rows and pages to go."""
_ENDS: Final = {"home": 0, "g": 0, "end": 1, "G": 1}
_KEYS: Final[Mapping[str, Callable[[State], State]]] = {
    "p": lambda state: _seen(state, View.PODS),
    "n": lambda state: _seen(state, View.NODES),
    "r": lambda state: replace(state, reversed=not state.reversed, top=0),
    "/": lambda state: replace(state, typing=True),
    "c": _next_class,
    " ": lambda state: replace(state, held=not state.held),
    "left": lambda state: replace(state, left=max(state.left - 8, 0)),
    "right": lambda state: replace(state, left=state.left + 8),
    "h": lambda state: replace(state, helping=True),
    "?": lambda state: replace(state, helping=True),
    "escape": lambda state: replace(state, text="", cls=None, top=0),
    "q": lambda state: replace(state, ended=True),
}
HELP: Final = (
    ("p, n", "pods, nodes"),
    ("<, >", "sort by the column before, after; the first is elephant traffic"),
    ("r", "the other way round"),
    ("/", "show only rows with a text; Enter keeps it, Escape drops it"),
    ("c", "only elephants, then mixed, mice, quiet pods, then all"),
    ("space", "hold the picture, and go on"),
    ("arrows, j, k, g, G", "scroll; PgUp and PgDn by a page"),
    ("Escape", "no text, no class"),
    ("q", "end"),
)
