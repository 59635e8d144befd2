# SPDX-License-Identifier: Apache-2.0
"""Cyclic garbage goes, whenever it was made, and what lives long is frozen once."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from extender.serving import garbage
from extender.serving import server as server_module
from extender.serving.garbage import SWITCH_SECONDS, collect_in_quiet
from tests.extender.running import served, until

PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """What a test freezes does not stay out of the collector's sight for the tests after it."""
    before, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(before)


class _Ring:
    """Refers to itself: only the garbage collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@contextmanager
def collecting(ready: threading.Event, quiet: threading.Event) -> Iterator[threading.Event]:
    """The thread at work, while nobody else collects; the event says that it has asked whether all is ready."""
    asked, over = threading.Event(), threading.Event()

    def is_ready() -> bool:
        asked.set()
        return ready.is_set()

    gc.disable()
    thread = threading.Thread(target=collect_in_quiet, args=(over, is_ready, quiet.is_set))
    thread.start()
    try:
        yield asked
    finally:
        gc.enable()
        over.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_it_waits_for_the_first_state_then_collects_and_freezes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "POLL_SECONDS", 0.01)
    ready = threading.Event()
    ring = weakref.ref(_Ring())
    with collecting(ready, threading.Event()) as asked:
        until(asked.is_set)
        assert ring() is not None
        ready.set()
        until(lambda: ring() is None)
        until(lambda: gc.get_freeze_count() > 1000)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)


def test_garbage_made_later_goes_in_a_quiet_moment_and_nothing_more_is_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "FULL_SECONDS", 0.05)
    monkeypatch.setattr(garbage, "SHARE", 1)
    ready, quiet = threading.Event(), threading.Event()
    ready.set()
    with collecting(ready, quiet):
        until(lambda: gc.get_freeze_count() > 1000)
        frozen = gc.get_freeze_count()
        for _ in range(3):
            rings = [_Ring() for _ in range(1000)]
            last = weakref.ref(rings[-1])
            del rings
            gc.collect(1)  # old enough that only a full collection finds them
            quiet.set()
            until(lambda ring=last: ring() is None)  # type: ignore[misc]
            quiet.clear()
        assert gc.get_freeze_count() <= frozen, "what is frozen was frozen once"


def test_requests_without_end_do_not_keep_garbage_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "FULL_SECONDS", 0.05)
    monkeypatch.setattr(garbage, "SHARE", 1)
    ready = threading.Event()
    ready.set()
    with collecting(ready, threading.Event()):
        until(lambda: gc.get_freeze_count() > 1000)
        ring = weakref.ref(_Ring())
        until(lambda: ring() is None)


def test_a_served_extender_collects_and_its_thread_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()

    def stand_in(stop: threading.Event, *_: object) -> None:
        started.set()
        stop.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(server_module, "collect_in_quiet", stand_in)
    with served():
        assert started.wait(PATIENCE_SECONDS)
    until(lambda: all(thread.name != "garbage" for thread in threading.enumerate()))
