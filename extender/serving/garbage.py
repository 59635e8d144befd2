# SPDX-License-Identifier: Apache-2.0
"""The garbage collector, set up for even response times and bounded memory.

Enters: when the first state is there, and whether requests come just now. Leaves: a process whose long-lived
values were taken out of the collector's sight once. Guarantees: cyclic garbage is freed whenever it was made; full
collections stop the process for at most a thousandth of its time, when possible while no request comes.

A full collection over the hundreds of thousands of values of a large cluster stops every response for a tenth of a
second. The cluster's values hold no cycles: each is freed by its reference count when it is replaced. Freezing
them once keeps later collections short. Freezing again and again would make cyclic garbage immortal.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

SWITCH_SECONDS: Final = 0.0005
"""How long a watch's thread may hold the interpreter while a request waits. Python's default is ten times that."""
POLL_SECONDS: Final = 5.0
FULL_SECONDS: Final = 60.0
"""Between two full collections at least."""
SHARE: Final = 1000
"""The next full collection comes no sooner than so many times the duration of the last."""
PATIENCE_SECONDS: Final = 300.0
"""For which a due collection waits for a moment without requests."""
_NEVER: Final = 2**31 - 1


def freeze() -> None:
    """Collect, then take everything alive out of the collector's sight. To be called once in a process' life."""
    gc.collect()
    gc.freeze()


def collect_in_quiet(stop: threading.Event, ready: Callable[[], bool], quiet: Callable[[], bool]) -> None:
    """``freeze`` once ``ready``, then collect in ``quiet`` moments until ``stop``. Runs in a thread of its own."""
    sys.setswitchinterval(SWITCH_SECONDS)
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)  # full collections only from here
    while not ready():
        if stop.wait(POLL_SECONDS):
            return
    freeze()
    due = time.monotonic() + FULL_SECONDS
    while not stop.wait(POLL_SECONDS):
        now = time.monotonic()
        if now >= due and (quiet() or now >= due + PATIENCE_SECONDS):
            gc.collect()
            ended = time.monotonic()
            due = ended + max(FULL_SECONDS, SHARE * (ended - now))
