# SPDX-License-Identifier: Apache-2.0
"""The time between requests, as the extender uses it."""

from __future__ import annotations

import asyncio

import pytest

from extender.api import idle_time
from extender.api.idle_time import IdleTime
from tests.extender.states import Clock


def test_idle_time_begins_after_the_last_response_not_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_time, "IDLE_SECONDS", 0.01)
    clock, looked, looks = Clock(), asyncio.Event(), list[float]()

    def look() -> bool:
        looks.append(clock.now)
        looked.set()
        return False

    async def ask_again_and_again() -> None:
        idle = IdleTime(look, clock)
        for _ in range(20):
            idle.response_sent()
            clock.now += 0.005
            await asyncio.sleep(0.005)
        assert looks == [], "each request came before the time was idle"
        clock.now += 1.0
        await looked.wait()

    asyncio.run(asyncio.wait_for(ask_again_and_again(), 20))
    assert looks[0] == clock.now
