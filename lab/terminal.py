# SPDX-License-Identifier: Apache-2.0
"""A real terminal (tmux) that runs a program, types on it, reads its screen, and makes a picture of it.

Enters: a command, keys, and patterns to wait for. Leaves: text, or SVG (drawn by rich) that loads nothing from
elsewhere. Raises LabError. Guarantees: the terminal and the program are gone afterwards.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from lab.errors import LabError

COLUMNS: Final = 116
LINES: Final = 24
SECONDS: Final = 60.0
"""For a program to show what is waited for, on a busy machine."""
_POLL_SECONDS: Final = 0.3
_FONTS: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Terminal:
    """See the module; made by ``terminal``."""

    def __init__(self, tmux: Sequence[str]) -> None:
        self._tmux = tmux

    def type(self, text: str, *keys: str) -> None:
        """``text`` as it stands, then keys as tmux names them, such as ``Tab`` and ``Enter``."""
        if text:
            self._run("send-keys", "-l", text)
        if keys:
            self._run("send-keys", *keys)

    def text(self, *, colours: bool = False) -> str:
        """What stands on the screen. ``colours``: with escape sequences."""
        return self._run("capture-pane", "-p", *(["-e"] if colours else []))

    def until(self, pattern: str, seconds: float | None = None) -> str:
        """The screen once ``pattern`` stands on it. Raises LabError with what stood there instead."""
        wait, shown = SECONDS if seconds is None else seconds, ""
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            shown = self.text()
            if re.search(pattern, shown):
                return shown
            time.sleep(_POLL_SECONDS)
        shown = shown.strip()[-800:]
        raise LabError(f"{pattern!r} did not appear within {wait:.0f} s; the screen was: {shown!r}")

    def _run(self, *argv: str) -> str:
        done = subprocess.run([*self._tmux, *argv], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"the terminal is gone, and the program with it: {done.stderr.strip()[:300]}")
        return done.stdout


@contextmanager
def terminal(
    argv: Sequence[str], environment: Mapping[str, str], size: tuple[int, int] = (COLUMNS, LINES)
) -> Iterator[Terminal]:
    """``argv`` on a terminal of ``size`` (columns, lines). Raises LabError."""
    if shutil.which("tmux") is None:
        raise LabError("no tmux is here; install it: apt-get install tmux")
    with tempfile.TemporaryDirectory() as folder:
        tmux = ["tmux", "-S", str(Path(folder) / "socket"), "-f", "/dev/null"]
        settings = [f"{name}={value}" for name, value in environment.items()]
        made = Terminal(tmux)
        command = shlex.join(["env", *settings, *argv])
        made._run("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), command)
        try:
            yield made
        finally:
            subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)


def shot(
    argv: Sequence[str], environment: Mapping[str, str], awaited: str, title: str, seconds: float | None = None
) -> str:
    """SVG of the screen of ``argv`` once the pattern ``awaited`` stands on it. Raises LabError."""
    with terminal(argv, environment) as shown:
        shown.until(awaited, seconds)
        return drawn(shown.text(colours=True), title)


def drawn(screen: str, title: str) -> str:
    """SVG of text with escape sequences for colours. Pure."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    for line in screen.rstrip("\n").split("\n"):
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop")
    made = console.export_svg(title=title, theme=MONOKAI, unique_id="screen")
    return _FONTS.sub("", made)  # they would come from elsewhere
