# SPDX-License-Identifier: Apache-2.0
"""Tunes beside the measuring loop, in a thread of its own: no reading waits for it.

Enters: elephants, whenever a reading has some. Leaves: its state. Guarantees: the newest reading counts, older
ones are dropped. ``close`` takes back what was applied.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from nodeagent.sources.base import Elephant
from nodeagent.tuning.flows import wanted
from nodeagent.tuning.modes import MOST_MARKED
from nodeagent.tuning.part import PriorityPart, Status

_CLOSING: Final = 4.0
"""Seconds that taking back may keep an agent from ending. A thousand connections take a fraction of one."""

_log = structlog.get_logger(__name__)


class Tuner:
    """Tunes the network namespace of the thread that starts it."""

    def __init__(self, part: PriorityPart, clock: Callable[[], float] = time.monotonic) -> None:
        self._part, self._clock = part, clock
        self._offered: tuple[Elephant, ...] | None = ()  # an advice without elephants has rules too
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="tuning", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def state(self) -> Status:
        """As of now."""
        return self._part.status

    def offer(self, elephants: tuple[Elephant, ...]) -> None:
        """Those of the newest reading. Returns at once."""
        with self._changed:
            self._offered = elephants
            self._changed.notify()

    def close(self) -> None:
        """Take everything back. May be called more than once, and without a start."""
        if self._thread.ident is None:
            return
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(_CLOSING)
        if self._thread.is_alive():
            _log.error("tuning is still being taken back; the journal has what is left for the next start")

    def _run(self) -> None:
        while (elephants := self._next()) is not None:
            try:
                self._part.advance(wanted(elephants, MOST_MARKED), self._clock())
            except Exception:  # measuring goes on whatever happens here, and nothing stays half done
                _log.exception("tuning failed, and is taken back")
                break
        try:
            self._part.withdraw()
        except Exception:
            _log.exception("tuning is not taken back; the journal has it for the next start")

    def _next(self) -> tuple[Elephant, ...] | None:
        with self._changed:
            while self._offered is None and not self._ending:
                self._changed.wait()
            if self._ending:
                return None
            elephants, self._offered = self._offered, None
            return elephants
