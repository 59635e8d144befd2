# SPDX-License-Identifier: Apache-2.0
"""How often a request takes the cluster state's lock: watches and requests wait for one another there."""

from __future__ import annotations

import threading
import time
from typing import Any

import orjson
import pytest

from extender.api.answers import Verbs
from extender.api.metrics import Metrics
from footprint.keys import POD_CLASS
from tests.extender.builders import elephant, patient, pod_json
from tests.extender.states import Clock, measured

NODES = ["a", "b", "c"]


class CountingLock:
    def __init__(self) -> None:
        self._lock, self.taken = threading.Lock(), 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self.taken += 1

    def __exit__(self, *_: Any) -> None:
        self._lock.release()


@pytest.mark.parametrize("cls", ["elephant", "mouse"])
def test_a_request_takes_the_states_lock_twice_at_most(cls: str) -> None:
    state, lock = measured(Clock(), NODES, {"a": [elephant("e")]}), CountingLock()
    verbs = Verbs(state, patient(), Metrics(state, {}))
    state._lock = lock  # type: ignore[assignment]
    for uid in ("p", "q", "p"):  # the second time, the last attempt is void
        pod = pod_json(uid, uid=uid, annotations={POD_CLASS: cls})
        body = orjson.dumps({"Pod": pod, "NodeNames": NODES})
        for act in (verbs.filter, verbs.prioritize):
            lock.taken = 0
            act(verbs.read(body), time.monotonic())
            verbs.count_sent()
            assert lock.taken <= 2
    lock.taken = 0
    verbs.filter(verbs.read(body), time.monotonic())
    assert lock.taken <= 1, "a filter that sends the pod nowhere takes it only to void the last attempt"
