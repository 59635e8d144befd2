# SPDX-License-Identifier: Apache-2.0
"""Where views go: tables that are refreshed in place on a terminal, appended lines or JSON elsewhere.

Enters: views. Leaves: text on stdout. Raises BrokenPipeError when nobody reads it, OSError when writing fails.
"""

from __future__ import annotations

from typing import Protocol

import orjson
from rich.console import Console
from rich.live import Live

from nodeagent.top import lines, table
from nodeagent.top.view import View


class Output(Protocol):
    """Where views go."""

    def show(self, view: View) -> None: ...
    def close(self) -> None: ...


class TerminalOutput:
    """Tables, refreshed in place; the last ones stay when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live("measuring ...", console=console, auto_refresh=False)
        self._live.start(refresh=True)

    def show(self, view: View) -> None:
        self._live.update(table.render(view, self._console.width, self._console.height), refresh=True)

    def close(self) -> None:
        self._live.stop()


class LineOutput:
    """Appended lines, each reading complete when the next one is taken."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._notes: tuple[str, ...] = ()

    def show(self, view: View) -> None:
        if self._as_json:
            print(orjson.dumps(lines.as_json(view)).decode(), flush=True)
            return
        print("\n".join(lines.text_lines(view, self._notes)), flush=True)
        self._notes = view.notes

    def close(self) -> None:
        """Nothing is held back."""
