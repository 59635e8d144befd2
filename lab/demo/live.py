# SPDX-License-Identifier: Apache-2.0
"""The live page beside the demo: a window to look through, and pictures of each run.

Enters: a running lab. Leaves: the page at one address of this machine, and in the report's folder pictures of it
and of ``kubectl footprint top``, where a browser and tmux are at hand. The run with the default scheduler has an
extender too, which nobody asks: its page shows the same map. A browser takes processor time from the run that it
looks at, so figures of such a demo are for looking only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab import programs, terminal
from lab.demo.window import Window
from lab.errors import LabError
from lab.lab import Lab
from lab.page import tools

PAGE_PORT: Final = 8891
PAGE_ARGS: Final = ("--metrics-port", str(PAGE_PORT))
_TOP_SECONDS: Final = 150.0
"""Of a run, until all elephants are there."""
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

    @contextmanager
    def pictures(self, lab: Lab, name: str, elephants: int) -> Iterator[None]:
        """``page-NAME.png`` (its upper part), ``page-NAME-whole.png`` and ``top-NAME.svg``, taken meanwhile: once
        so many pods have ``elephants``. Says why where there is none. Called in the lab's network namespace, where
        browser and plugin find extender and API server: threads inherit it."""
        address, told = f"http://127.0.0.1:{PAGE_PORT}/page/", rf"\b{elephants} elephant\b"
        work = (
            (f"top-{name}.svg", lambda path: path.write_text(self._top(lab, told))),
            (
                f"page-{name}.png",
                lambda path: tools.look(address, path.parent, only=path.stem, elephants=elephants),
            ),
        )
        with ThreadPoolExecutor(len(work)) as threads:
            for file, make in work:
                threads.submit(self._one, file, make)
            yield

    def _one(self, name: str, make: Callable[[Path], object]) -> None:
        try:
            make(self._folder / name)
        except (LabError, OSError) as error:
            self._say(f"no picture {name}: {error}")
        else:
            self._say(f"wrote {self._folder / name}")

    def _top(self, lab: Lab, awaited: str) -> str:
        argv = [programs.console_script("kubectl-footprint"), "top"]
        environment = {"KUBECONFIG": str(lab.kubeconfig)}
        return terminal.shot(argv, environment, awaited, "kubectl footprint top", _TOP_SECONDS)
