# SPDX-License-Identifier: Apache-2.0
"""The live page beside the demo: a window to look through, and a picture of each run.

Enters: a running lab. Leaves: the page at one address of this machine, and pictures in the report's folder
where a browser is at hand. The run with the default scheduler has an extender too, which nobody asks: its page
shows the same map. A browser takes processor time from the run that it looks at, so figures of such a demo are
for looking only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.demo.window import Window
from lab.errors import LabError
from lab.lab import Lab
from lab.page import tools

PAGE_PORT: Final = 8891
PAGE_ARGS: Final = ("--metrics-port", str(PAGE_PORT))
_WATCHER_PORT: Final = 8892
"""Of the extender that only watches."""


class Live:
    """See the module. ``say`` tells a person."""

    def __init__(self, folder: Path, say: Callable[[str], None], port: int = 0) -> None:
        self._folder, self._say, self.window = folder, say, Window(port)

    def close(self) -> None:
        self.window.close()

    @contextmanager
    def beside(self, lab: Lab, *, extender: bool) -> Iterator[None]:
        """The page is open meanwhile."""
        if not extender:
            lab.start_replica("page", _WATCHER_PORT, PAGE_ARGS)
        with self.window.open(PAGE_PORT):
            self._say(f"live page: {self.window.address}")
            yield

    def picture(self, name: str) -> None:
        """``page-NAME.png`` of what the page shows now; says why where there is none. Called in the lab's
        network namespace, where the browser finds the extender itself."""
        try:
            tools.look(f"http://127.0.0.1:{PAGE_PORT}/page/", self._folder, only=f"page-{name}")
        except (LabError, OSError, subprocess.TimeoutExpired) as error:
            self._say(f"no picture of the live page: {error}")
        else:
            self._say(f"wrote {self._folder / f'page-{name}.png'}")
