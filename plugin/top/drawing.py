# SPDX-License-Identifier: Apache-2.0
"""The terminal: keys in, lines out, by curses. Raises BadSettingError where a terminal cannot be drawn on."""

from __future__ import annotations

import curses
import locale
import os
import time
from collections.abc import Sequence
from typing import Final

from footprint.commands import BadSettingError
from plugin.top import layout
from plugin.top.flags import TopSettings
from plugin.top.following import Following
from plugin.top.layout import Line, Picture
from plugin.top.state import State, View, pressed

TICK_SECONDS: Final = 1.0
"""Between two pictures without a key."""
SLOWEST_SHARE: Final = 0.25
"""Of the time that drawing may take: a picture of many pods is made less often."""
_NAMES: Final = {
    curses.KEY_UP: "up", curses.KEY_DOWN: "down", curses.KEY_LEFT: "left", curses.KEY_RIGHT: "right",
    curses.KEY_PPAGE: "page up", curses.KEY_NPAGE: "page down", curses.KEY_HOME: "home", curses.KEY_END: "end",
    curses.KEY_ENTER: "enter", curses.KEY_BACKSPACE: "backspace", curses.KEY_RESIZE: "resize",
}  # fmt: skip
_CHARACTERS: Final = {"\n": "enter", "\r": "enter", "\x1b": "escape", "\x7f": "backspace", "\x08": "backspace"}
_COLOURS: Final = {"red": curses.COLOR_RED, "yellow": curses.COLOR_YELLOW, "green": curses.COLOR_GREEN}


def live(following: Following, settings: TopSettings, state: State) -> None:
    """Draw until a person ends it."""
    locale.setlocale(locale.LC_ALL, "")
    os.environ.setdefault("ESCDELAY", "25")
    try:
        with following.running():
            curses.wrapper(lambda window: _Screen(window, following, settings).run(state))
    except curses.error as error:
        raise BadSettingError(
            f"this terminal cannot be drawn on (TERM={os.environ.get('TERM', '')!r}: {error})",
            "set TERM to what it is, or use `kubectl footprint pods -A --watch`",
        ) from error


class _Screen:
    def __init__(self, window: curses.window, following: Following, settings: TopSettings) -> None:
        self._window, self._following, self._settings = window, following, settings
        self._styles = {"": curses.A_NORMAL, "bold": curses.A_BOLD, "reverse": curses.A_REVERSE}
        curses.curs_set(0) if curses.tigetstr("civis") else None
        if curses.has_colors() and not os.environ.get("NO_COLOR"):
            curses.use_default_colors()
            for number, (name, colour) in enumerate(_COLOURS.items(), 1):
                curses.init_pair(number, colour, -1)
                self._styles[name] = curses.color_pair(number)
        self._columns = {view: layout.sortable(view) for view in View}

    def run(self, state: State) -> None:
        """Until it is ended."""
        picture, key = self._following.picture(), ""
        while not state.ended:
            started = time.monotonic()
            if not state.held:
                picture = self._following.picture()
            rows = layout.rows_of(picture, state, self._settings.only_namespace)
            height, width = self._window.getmaxyx()
            page = max(height - layout.FRAME, 1)
            if key:
                state = pressed(state, key, columns=self._columns, rows=len(rows), page=page)
                rows = layout.rows_of(picture, state, self._settings.only_namespace)
            self._draw(picture, state, rows, height, width)
            took = time.monotonic() - started
            key = self._key(max(TICK_SECONDS, took / SLOWEST_SHARE))

    def _draw(self, picture: Picture, state: State, rows: Sequence[object], height: int, width: int) -> None:
        clock = time.strftime("%H:%M:%S")
        lines = layout.screen(picture, state, rows, clock=clock, width=width - 1, height=height)
        self._window.erase()
        for at, line in enumerate(lines):
            self._line(at, line)
        self._window.refresh()

    def _line(self, at: int, line: Line) -> None:
        try:
            self._window.move(at, 0)
            for part in line:
                self._window.addstr(part.text, self._styles.get(part.style, curses.A_NORMAL))
        except curses.error:
            pass  # the terminal has become smaller meanwhile

    def _key(self, seconds: float) -> str:
        """The next key's name; empty when none comes in time."""
        self._window.timeout(int(1000 * seconds))
        try:
            found = self._window.get_wch()
        except curses.error:
            return ""
        return _CHARACTERS.get(found, found) if isinstance(found, str) else _NAMES.get(found, "")
