# SPDX-License-Identifier: Apache-2.0
"""Labs that tests stand on: started for a fixture, always removed, checked before every test that runs.

A machine that cannot run a lab (no root, a tool missing) fails these tests with the remedy: a tier that did not
run must not look as if it had passed. A lab that has become unhealthy fails every later test at once, with the
reason. Otherwise each would wait two minutes and then fail for another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import pytest

from lab.errors import LabError
from lab.lab import Lab, LabConfig

RECOVERY_SECONDS: Final = 20.0
"""How long nodes may be NotReady when a test begins: the test before may have stopped the API server. Two of a
node's heartbeats."""


class Checked(Protocol):
    """What says, a line each, what is wrong with it."""

    def lost(self) -> list[str]: ...

    def unready(self) -> list[str]: ...


_standing: list[Checked] = []
_condemned: dict[int, str] = {}


def running(config: LabConfig) -> Iterator[Lab]:
    """A lab for a fixture to yield from."""
    try:
        lab = Lab(config).__enter__()
    except LabError as error:
        pytest.fail(f"the lab did not come up: {error}", pytrace=False)
    try:
        with standing_on(lab):
            yield lab
    finally:
        lab.__exit__(None, None, None)


@contextmanager
def standing_on(lab: Checked) -> Iterator[None]:
    """Tests within this block need ``lab`` to be healthy."""
    _standing.append(lab)
    try:
        yield
    finally:
        _standing.remove(lab)
        _condemned.pop(id(lab), None)


def fail_when_unhealthy(sleep: Callable[[float], None] = time.sleep) -> None:
    """Fail the test that is about to run when a lab it stands on is not healthy."""
    for lab in _standing:
        reason = _condemned.get(id(lab)) or _unhealthy(lab, sleep)
        if reason:
            _condemned[id(lab)] = reason
            pytest.fail(f"the lab that this test stands on is not healthy: {reason}", pytrace=False)


def _unhealthy(lab: Checked, sleep: Callable[[float], None]) -> str:
    """What is wrong, after a wait for what may recover; empty when nothing is."""
    for _ in range(int(RECOVERY_SECONDS)):
        if lost := lab.lost():
            return "; ".join(lost)
        if not (unready := lab.unready()):
            return ""
        sleep(1.0)
    return "; ".join(unready)
