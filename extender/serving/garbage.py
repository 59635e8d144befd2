# SPDX-License-Identifier: Apache-2.0
"""The garbage collector, set up for even response times and bounded memory.

Enters: when the first state is there, and whether requests come just now. Leaves: a process whose long-lived
values are frozen once (``gc.freeze``), so that the collector skips them. Guarantees: cyclic garbage is freed
whenever it was made; full collections take at most a third of a percent of the time, when possible while no
request comes; memory that became free goes back to the kernel.

A full collection over the hundreds of thousands of values of a large cluster stops every response for a tenth of a
second. The cluster's values hold no cycles: each is freed by its reference count when it is replaced. Freezing
them once keeps later collections short. Freezing repeatedly would also freeze cyclic garbage, which would then
never be freed.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

SWITCH_SECONDS: Final = 0.0005
"""How long a watch's thread may hold the interpreter while a request waits. Python's default is ten times that."""
POLL_SECONDS: Final = 5.0
FULL_SECONDS: Final = 10.0
"""Between two full collections at least."""
SHARE: Final = 300
"""The next full collection comes no sooner than so many times the processor time of the last."""
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
    ended, interval, give_back = time.monotonic(), FULL_SECONDS, _trimmer()
    while not stop.wait(POLL_SECONDS):
        now = time.monotonic()
        waited = now - ended
        if waited >= 2 * interval or (waited >= interval and quiet()):
            began = time.thread_time()
            gc.collect()
            interval = max(FULL_SECONDS, SHARE * (time.thread_time() - began))
            give_back(0)
            ended = time.monotonic()


def _trimmer() -> Callable[[int], object]:
    """glibc's ``malloc_trim``, which returns free memory to the kernel; does nothing with other C libraries."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _pad: None
    return found
