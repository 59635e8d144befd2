# SPDX-License-Identifier: Apache-2.0
"""What the page shows, kept up to date while somebody looks.

Enters: the cluster state and the recorded decisions. Leaves: one encoded frame a second for all readers
together, and the whole as JSON. Guarantees: an object is encoded once, however many read it; between two slices
of ``SLICE_SECONDS`` others have their turn; while nobody looks, only the history is kept. Belongs to the event
loop.

A reader has a cursor, not a queue. Whoever fell behind gets the newest rows of all frames since its cursor in
one, or is told to load the whole when that is more than ``MAX_MERGED`` rows.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import orjson
import structlog

from extender.cluster.state import ClusterState
from extender.model.snapshot import NodeView
from extender.page import figures
from extender.page.decisions import KEPT, Recorder
from extender.page.history import STEP_SECONDS, STEPS, History, code_rate, rate_of, share_of
from extender.placement.shadow import Shadow

FRAME_SECONDS: Final = 1.0
SLICE_SECONDS: Final = 0.00015
"""Of work, before others have their turn."""
REST_SECONDS: Final = 0.002
"""Between two slices."""
LOOKED_AT_SECONDS: Final = 30.0
"""How long frames go on after the last reader."""
FRAMES: Final = 32
"""Frames that a reader may lag behind."""
MAX_MERGED: Final = 1000
"""Rows of one event."""
MAX_DECISIONS: Final = 32
"""Decisions of one event."""
MAX_NODES: Final = 10_000
"""Nodes with a history."""
MAX_WORKLOADS: Final = 5_000
"""Workloads with a history, and workloads that are shown."""
DIGESTS: Final = 8
"""Decisions that are read between two frames' worth of rest."""
DECISION_SECONDS: Final = 0.25
WORKLOAD_SECONDS: Final = 5.0

_log = structlog.get_logger()


class Frame(NamedTuple):
    """What changed at once."""

    version: int
    rows: dict[str, bytes]
    gone: frozenset[str]
    body: bytes
    """As JSON, encoded once for all readers."""


class Board:
    """See the module. ``clock`` is monotonic seconds."""

    def __init__(
        self, state: ClusterState, recorder: Recorder, shadow: Shadow | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._state, self.recorder, self._shadow, self._clock = state, recorder, shadow, clock
        self._following = False
        self._began, self.started_at = clock(), time.time()
        self.nodes = History(4, MAX_NODES)
        self.workloads = History(1, MAX_WORKLOADS)
        self._collisions: deque[tuple[int, int, int]] = deque(maxlen=STEPS)
        """Step, links with both kinds, pods with mice on them."""
        self._sampled = -1
        self._known: dict[str, NodeView] = {}
        self._rows: dict[str, bytes] = {}
        self._totals = {"nodes": 0, "collisions": 0, "beside": 0, "busy": 0, "elephants": 0, "mice": 0}
        self._states: dict[str, int] = {}
        self.version = 0
        self._frames: deque[Frame] = deque(maxlen=FRAMES)
        self._changed = asyncio.Event()
        self._looked = -LOOKED_AT_SECONDS
        self._whole: tuple[int, bytes] = (-1, b"")
        self._workloads: tuple[float, bytes] = (0.0, b"")
        self._listing = asyncio.Lock()
        self._decisions: tuple[int, int, bytes] = (-1, -1, b"")
        self.readers = 0
        self.merged = 0
        """Events that took several frames together for a reader who fell behind."""
        self.reloads = 0
        """Readers that fell too far behind, and were told to load the whole."""
        self.failures = 0
        """Rounds that failed; the page shows what it knew."""
        self._slice_end = 0.0

    # The work, a slice at a time.

    async def run(self) -> None:
        """Keep everything up to date until cancelled. Never raises anything else."""
        framed = self._clock()
        while True:
            await asyncio.sleep(DECISION_SECONDS)
            try:
                await self._digest()
                if self._step > self._sampled:
                    await self.sample()
                if self._clock() >= framed + FRAME_SECONDS and self._looked_at:
                    framed = self._clock()
                    await self.frame()
                elif self._following and not self._looked_at:
                    self._following = False
                    self._state.unfollow()
            except Exception:
                self.failures += 1
                self._following = False  # what changed meanwhile is not known: all of it is looked at again
                _log.exception("page not updated")
                await asyncio.sleep(STEP_SECONDS)

    @property
    def _step(self) -> int:
        return int((self._clock() - self._began) / STEP_SECONDS)

    @property
    def _looked_at(self) -> bool:
        return self.readers > 0 or self._clock() < self._looked + LOOKED_AT_SECONDS

    async def _rest_if_due(self) -> None:
        if time.perf_counter() >= self._slice_end:
            await asyncio.sleep(REST_SECONDS)
            self._slice_end = time.perf_counter() + SLICE_SECONDS

    async def _digest(self) -> None:
        for _ in range(DIGESTS):
            if not self.recorder.digest():
                return
            await asyncio.sleep(REST_SECONDS)

    async def sample(self) -> None:
        """One step of the history."""
        step = self._sampled = self._step
        views = self._state.snapshot.nodes
        collisions = beside = 0
        for name in list(views):
            await self._rest_if_due()
            view = views[name]
            self.nodes.put(name, step, figures.history_codes(view, self._state.published(name)[0]))
            if figures.collides(view):
                collisions, beside = collisions + 1, beside + view.mouse_pods
        self._collisions.append((step, collisions, beside))
        measured = await asyncio.to_thread(self._state.measured)  # its lock may be held for long after a list
        for key, tally in measured.items():
            await self._rest_if_due()
            self.workloads.put("/".join(key), step, (code_rate(max(tally.tx, tally.rx)),))
        self.nodes.forget_old(step)
        self.workloads.forget_old(step)

    async def frame(self) -> None:
        """Find what changed since the last frame, and let readers know."""
        self.recorder.bind(self._state.nodes_of(self.recorder.unbound()))
        names: set[str] = set()
        if not self._following:  # nodes that went while nobody followed are those that only we know
            self._following = True
            self._state.follow()
            names.update(self._known)
        # Walking through all nodes each time would push placement's tables out of the processor's caches.
        names |= self._state.changes()
        views, rows, gone = self._state.snapshot.nodes, dict[str, bytes](), set[str]()
        for name in names:
            await self._rest_if_due()
            known, view = self._known.get(name), views.get(name)
            if view is None:
                if known is not None:
                    self._count(self._known.pop(name), None)
                    self._rows.pop(name, None)
                    gone.add(name)
                continue
            said, group = self._state.published(name)
            self._count(known, view)
            self._known[name] = view
            encoded = orjson.dumps(figures.row(view, said, group))
            if self._rows.get(name) != encoded:
                rows[name] = encoded
        self._rows.update(rows)
        if not rows and not gone and self.version:
            self.wake()
            return
        self.version += 1
        left = frozenset(gone)
        self._frames.append(Frame(self.version, rows, left, self._body(self.version, rows, left)))
        self.wake()

    def wake(self) -> None:
        """Let readers look, whether or not anything changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _count(self, before: NodeView | None, after: NodeView | None) -> None:
        if before is not None:
            figures.add(self._totals, self._states, before, -1)
        if after is not None:
            figures.add(self._totals, self._states, after, 1)

    def _body(self, version: int, rows: dict[str, bytes], gone: frozenset[str]) -> bytes:
        """JSON of a change. More rows than one event may have become a hint to load the whole."""
        if len(rows) > MAX_MERGED:
            return b""
        head = orjson.dumps({"version": version, "gone": sorted(gone), "totals": self.totals()})
        return b'%b,"rows":[%b]}' % (head[:-1], b",".join(rows.values()))

    # What readers get.

    def look(self) -> None:
        """Somebody looks: frames go on for a while."""
        self._looked = self._clock()

    async def next(self) -> None:
        """Wait for the next frame."""
        await self._changed.wait()

    async def ready(self) -> None:
        """Wait for the first frame."""
        self.look()
        if not self.version:
            await self.next()

    def since(self, version: int) -> tuple[int, bytes] | None:
        """The newest version and the JSON of all that changed since ``version``: an empty one asks the reader to
        load the whole. None: nothing changed."""
        if version == self.version:
            return None
        missed = [frame for frame in self._frames if frame.version > version]
        if len(missed) != self.version - version or version > self.version:
            self.reloads += 1
            return self.version, b""
        if len(missed) == 1:
            body = missed[0].body
        else:
            self.merged += 1
            rows, gone = dict[str, bytes](), set[str]()
            for frame in missed:
                gone -= frame.rows.keys()
                gone |= frame.gone
                rows.update(frame.rows)
            body = self._body(self.version, {n: r for n, r in rows.items() if n not in gone}, frozenset(gone))
        self.reloads += not body
        return self.version, body

    def decisions(self, change: int) -> tuple[int, bytes] | None:
        """The newest change, and the JSON of the decisions that changed after ``change``. None: none did."""
        newest = self.recorder.changes
        if change == newest:
            return None
        if self._decisions[:2] != (change, newest):
            shown = {"change": newest, "shadow": self.recorder.shadow, "lost_details": self.recorder.lost_details}
            found = self.recorder.since(change, MAX_DECISIONS if change > 0 else KEPT)
            self._decisions = (change, newest, orjson.dumps({**shown, "decisions": found}))
        return newest, self._decisions[2]

    def whole(self) -> bytes:
        """All nodes."""
        if self._whole[0] != self.version:
            head = orjson.dumps({
                "version": self.version, "columns": figures.COLUMNS, "started_at": self.started_at,
                "totals": self.totals(),
            })  # fmt: skip
            self._whole = (self.version, b'%b,"rows":[%b]}' % (head[:-1], b",".join(self._rows.values())))
        return self._whole[1]

    def totals(self) -> dict[str, Any]:
        """Sums over all nodes, and what shadow mode has counted."""
        return {
            **self._totals, "states": {state: count for state, count in self._states.items() if count},
            "at": round(time.time(), 1),
        }  # fmt: skip

    def gains(self) -> dict[str, Any]:
        """Collisions over the last hour, and shadow mode's figures."""
        step = self._step
        seen = {at: (links, pods) for at, links, pods in self._collisions}
        steps = [seen.get(past) for past in range(step - STEPS + 1, step + 1)]
        return {
            **self._when(), "links": [one and one[0] for one in steps], "pods": [one and one[1] for one in steps],
            "totals": self.totals(), "shadow": self._shadow.report() if self._shadow is not None else None,
        }  # fmt: skip

    def _when(self) -> dict[str, float]:
        """Where the last step stands in time, and since when anything is known."""
        return {"step_seconds": STEP_SECONDS, "last_step_at": round(time.time(), 1), "since": self.started_at}

    def node(self, name: str) -> dict[str, Any] | None:
        """One node with its last hour; None: there is no such node."""
        view = self._state.snapshot.nodes.get(name)
        if view is None:
            return None
        said, group = self._state.published(name)
        shown = figures.node(view, said, group, self._state.pods_on(name))
        columns = self.nodes.read(name, self._step)
        history = {
            title: [share_of(code) for code in codes]
            for title, codes in zip(("used_tx", "used_rx", "el_tx", "el_rx"), columns, strict=True)
        }
        return {**shown, "history": {**self._when(), **history}}

    async def workload_list(self) -> bytes:
        """The busiest workloads, each with its last hour, at most ``WORKLOAD_SECONDS`` old."""
        async with self._listing:
            if self._clock() >= self._workloads[0] + WORKLOAD_SECONDS or not self._workloads[1]:
                self._workloads = (self._clock(), await self._list_workloads())
            return self._workloads[1]

    async def _list_workloads(self) -> bytes:
        snapshot, measured = self._state.snapshot, await asyncio.to_thread(self._state.measured)
        keys = measured.keys() | snapshot.records.keys()
        found = []
        for key in keys:
            await self._rest_if_due()
            found.append(
                figures.workload(key, snapshot.learned.get(key), measured.get(key), snapshot.records.get(key))
            )
        found.sort(key=lambda one: (-one.rate, one.key))
        shown = []
        for one in found[:MAX_WORKLOADS]:
            await self._rest_if_due()
            codes = self.workloads.read("/".join(one.key), self._step)[0]
            shown.append(orjson.dumps({**one.shown, "history": [rate_of(code) for code in codes]}))
        head = orjson.dumps({**self._when(), "left_out": len(found) - len(shown)})
        return b'%b,"workloads":[%b]}' % (head[:-1], b",".join(shown))

    def history_sizes(self) -> Iterator[tuple[str, int]]:
        """Bytes of the rings."""
        yield "nodes", self.nodes.size
        yield "workloads", self.workloads.size
