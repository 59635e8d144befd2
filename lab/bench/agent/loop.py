# SPDX-License-Identifier: Apache-2.0
"""The agent's own loop for benchmarks, without an API server: everything up to the decision to write."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from footprint.models import NodeFootprint
from nodeagent.agent import Agent
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.metrics import LoopState, new_registry
from nodeagent.node.link import find_link
from nodeagent.node.pods import LocalPod, PodStore
from nodeagent.publishing.decide import WritePolicy
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.node_writer import NodeWriter
from nodeagent.sources.base import FlowSource


class Recorder(NodeWriter):
    """Records what the loop decides to write, and writes nothing."""

    def __init__(self) -> None:
        self.written: list[tuple[float, NodeFootprint]] = []
        """Monotonic seconds of each decision, and the footprint to write."""

    def submit(self, footprint: NodeFootprint, _crossings: object = ()) -> None:
        self.written.append((time.monotonic(), footprint))

    def close(self, timeout: float) -> bool:  # noqa: ARG002 - the writer's interface
        return True


class _Silent(EventReporter):
    """Reports nothing."""

    def __init__(self) -> None: ...

    def offer(self, pods: object) -> None: ...


def unconnected(
    source: FlowSource, pods: Mapping[bytes, str], *, uplink: str, capacity: float, poll_interval: float = 1.0
) -> tuple[Agent, Recorder]:
    """The loop at default settings over an opened source. ``pods``: address → UID; ``capacity`` in bit/s."""
    store, synced, recorder = PodStore(), threading.Event(), Recorder()
    store.replace([
        LocalPod(uid, "bench", uid, f"Deployment/{uid}", "Running", addresses=(address,))
        for address, uid in pods.items()
    ])  # fmt: skip
    synced.set()
    agent = Agent(
        source=source, store=store, synced=synced, writer=recorder, reporter=_Silent(),
        aggregator=Aggregator(source.name), policy=WritePolicy(), find_link=lambda: find_link(uplink, capacity),
        figures=LoopState(), durations=new_registry()[1], poll_interval=poll_interval,
    )  # fmt: skip
    return agent, recorder
