# SPDX-License-Identifier: Apache-2.0
"""How a program of the lab is ended: SIGINT, SIGTERM and SIGHUP unwind it, and its cleaning up is not cut off.

Enters: signals. Leaves: KeyboardInterrupt for SIGINT, SystemExit(128 + number) for the others, raised in the main
thread. Guarantees: SIGINT works even where the program inherited it as ignored, as a shell's background jobs do.
SIGHUP stays ignored where it was inherited so: that is what ``nohup`` asks for.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def signals_end() -> Iterator[None]:
    """Each of ENDING unwinds this block. A handler that the program installed itself is kept."""
    if not _on_main_thread():
        yield
        return
    pid = os.getpid()

    def on_signal(number: int, _frame: FrameType | None) -> NoReturn:
        if os.getpid() != pid:  # a forked child of the driver has no lab to clean up
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in ENDING if _is_ours_to_set(number)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore ENDING within this block: cleaning up is short, and a second Ctrl-C must not cut it off."""
    if not _on_main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ours_to_set(number: signal.Signals) -> bool:
    replaceable = {signal.SIG_DFL, signal.SIG_IGN} if number == signal.SIGINT else {signal.SIG_DFL}
    return signal.getsignal(number) in replaceable
