# SPDX-License-Identifier: Apache-2.0
"""What an agent with tuning does on a node: a reading a second, and what it says is acted upon.

Enters: the node's namespace, who lives there, and its uplink. Leaves: marks and rules while the block runs, and
nothing of them afterwards. Raises LabError after the block when the tuning had failed, so that no figure without
tuning is taken for one with it.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from lab.network import netns
from nodeagent.sources.base import FlowThresholds, Locality
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.tuning.flows import wanted
from nodeagent.tuning.modes import MOST_MARKED, Mode, PriorityOptions
from nodeagent.tuning.part import PriorityPart


@contextmanager
def as_its_agent(namespace: str, locality: Locality, uplink: str) -> Iterator[None]:
    """Find the elephants of ``namespace`` by ctnetlink, and let others pass them at ``uplink``."""
    over, failed = threading.Event(), list[BaseException]()

    def loop(folder: Path) -> None:
        try:
            with netns.entered(namespace):
                source = CtnetlinkSource(FlowThresholds(), locality)
                source.open()
                part = PriorityPart(PriorityOptions(mode=Mode.APPLY), folder, lambda: [uplink])
                try:
                    while not over.wait(1.0):
                        now = time.monotonic()
                        part.advance(wanted(source.read(now).elephants, MOST_MARKED), now)
                finally:
                    part.withdraw()
                    source.close()
        except BaseException as error:
            failed.append(error)

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(target=loop, args=(Path(folder),))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
    if failed:
        raise LabError(f"the tuning in {namespace} failed: {failed[0]}") from failed[0]
