# SPDX-License-Identifier: Apache-2.0
"""The time between requests, as the gate uses it."""

from __future__ import annotations

import asyncio

import pytest

from extender.api import load_shedding as gate_module
from extender.api.answers import Verbs
from extender.api.load_shedding import Gate, Verb, filter_error
from extender.api.metrics import Metrics
from extender.serving.connections import Arrival
from tests.extender.builders import patient
from tests.extender.running import small_state
from tests.extender.states import Clock

EVERYTHING = b'{"Pod":{"metadata":{"name":"p"}},"NodeNames":["a"]}'


def test_idle_time_begins_after_the_last_answer_not_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, looks = asyncio.Event(), list[float]()
    clock, state = Clock(), small_state()
    verbs = Verbs(state, patient(), Metrics(state, {}), clock)

    def look() -> bool:
        looks.append(clock.now)
        looked.set()
        return False

    monkeypatch.setattr(verbs, "work_ahead", look)
    monkeypatch.setattr(gate_module, "IDLE_SECONDS", 0.01)
    gate = Gate(Metrics(state, {}), verbs, 4, clock)
    verb = Verb("filter", verbs.filter, verbs.shed_filter, filter_error)

    async def ask_again_and_again() -> None:
        for _ in range(20):
            assert gate.decide(verb, EVERYTHING, Arrival(clock.now, 1)).status == 200
            gate.afterwards()
            clock.now += 0.005
            await asyncio.sleep(0.005)
        assert looks == [], "each question came before the time was idle"
        clock.now += 1.0
        await looked.wait()

    asyncio.run(asyncio.wait_for(ask_again_and_again(), 20))
    assert looks[0] == clock.now
