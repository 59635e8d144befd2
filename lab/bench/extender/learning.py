# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory that learning costs an extender.

``python -m lab.bench.extender.learning [--workloads N] [--output json]``. One TrafficFootprint for each workload,
all measured and steady, in this process. Nothing is sent. Times are CPU time of this thread, the median of
several. Memory is what the kernel counts as resident.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from extender.cluster.state import ClusterState
from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.learning.config import LearnerConfig
from extender.learning.learner import Learner
from extender.model.demand import Tally
from extender.model.profile import NOTHING_YET, fold
from extender.model.trafficfootprint import decode_record, new_object, status_of
from lab.bench.process_cost import resident_bytes

NOW: Final = 1_800_000_000.0
_TIMES: Final = 7
_BUSY: Final = Tally(active=1, hurting=1, tx=150e6, peak_tx=190e6, running=1)
_OTHER: Final = Tally(active=1, hurting=1, tx=20e6, peak_tx=20e6, running=1)


@dataclass(frozen=True, slots=True)
class LearningResult:
    workloads: int
    take_in_seconds: float
    """CPU seconds to decode all objects and publish them in a snapshot, as at the start."""
    resident_mib: float
    """Growth of resident memory, without the objects' JSON."""
    change_ms: float
    """CPU milliseconds to decode one changed object and publish it in a snapshot."""
    look_ms: float
    """CPU milliseconds of the leader's step: one sample of every workload, when none needs a write."""


def an_object(number: int, tally: Tally = _BUSY) -> dict[str, Any]:
    """The object of one workload. Its status sums up a hundred samples."""
    made, profile = new_object((f"team-{number % 50}", f"Deployment/service-{number}")), NOTHING_YET
    for _ in range(100):
        profile = fold(profile, tally)
    metadata = {**made["metadata"], "uid": f"uid-{number}", "resourceVersion": str(number)}
    return {**made, "metadata": metadata, "status": status_of(profile, NOW)}


def _seconds(act: Callable[[], object]) -> float:
    before = time.thread_time()
    act()
    return time.thread_time() - before


def _resident() -> float:
    gc.collect()
    return resident_bytes(os.getpid()) / 2**20


def measure(workloads: int) -> LearningResult:
    """Costs of learning with so many workloads."""
    listed = orjson.dumps([an_object(number) for number in range(workloads)])
    changed = [an_object(0, tally) for tally in (_OTHER, _BUSY)]
    before = _resident()
    state = ClusterState(stale_after=180.0)
    index = TrafficFootprintIndex(state.put_records)

    def take_in() -> None:
        index.replace([decode_record(obj) for obj in orjson.loads(listed)])
        state.apply()

    taken = _seconds(take_in)
    resident = _resident() - before

    def change(number: int) -> None:
        index.upsert(decode_record(changed[number % 2]))
        state.apply()

    changes = [_seconds(lambda number=number: change(number)) for number in range(2 * _TIMES)]  # type: ignore[misc]
    take_in()
    measured = dict.fromkeys(index.records(), _BUSY)
    nowhere: Any = None  # steady: nothing is due, so nothing is written
    learner = Learner(lambda: measured, index, nowhere, lambda: True, LearnerConfig(), wall=lambda: NOW)
    looks = [_seconds(learner.step) for _ in range(_TIMES)]
    return LearningResult(
        workloads, taken, resident, 1000 * statistics.median(changes), 1000 * statistics.median(looks)
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.extender.learning", description=measure.__doc__)
    parser.add_argument("--workloads", type=int, default=5000, help="how many (%(default)s)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    found = measure(arguments.workloads)
    if arguments.output == "json":
        print(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2).decode())
        return
    print(f"{found.workloads} workloads, each with an object")
    print(f"reading all at the start   {found.take_in_seconds:.2f} s, {found.resident_mib:.0f} MiB resident")
    print(f"one object that changed    {found.change_ms:.1f} ms")
    print(f"one step of the leader     {found.look_ms:.0f} ms")


if __name__ == "__main__":
    main()
