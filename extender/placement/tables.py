# SPDX-License-Identifier: Apache-2.0
"""The two responses for many nodes at once, from verdicts that are computed once and kept.

Enters: candidate names, a demand, a placement mode and the snapshot. Leaves: both responses as JSON, in a few
microseconds per hundred nodes. Guarantees: exactly the results of ``filtering.filter_nodes`` and
``scoring.score_nodes``; property tests compare them. Belongs to one thread.

A verdict depends only on the node's view and on the few numbers of a demand in a TableKey. So pods with equal keys
share a table, and a new snapshot costs a table only the nodes that it changed. Each name is looked up once per
pod; everything else is a list by the node's place. Most of the time goes into fetching each candidate from memory,
so a response reuses the names as they came. Memory: two pointers and at most one reason per node in each of
``MAX_TABLES`` tables.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson
import structlog

from extender.model.cost import DEFAULT_COST_MODEL, CostModel
from extender.model.demand import Demand
from extender.model.snapshot import Snapshot
from extender.placement.node_verdict import Judgement, judge
from extender.placement.scoring import BEST, NEUTRAL, score_table
from extender.placement.tie_break import pick
from footprint.declared import PlacementMode

MAX_TABLES: Final = 64
"""Tables that are kept. All mice share two: links are scarce, or not. Elephants have one per rate, and learned
rates are twenty per decade."""

AHEAD_FROM: Final = 16
"""Nodes that a table must lack to be completed between requests. Each placed pod changes a node, and following
every change would cost more than it saves: the next request computes fewer nodes in a tenth of a millisecond."""

_CHECK_EVERY: Final = 64
"""Nodes that are computed between two checks of the clock: some tenths of a millisecond."""

_LOG_EVERY: Final = 60.0
"""Seconds between two log lines about nodes whose verdicts fail; all are counted."""

_SUITS: Final = b""
_UNSEEN: Final = 0
"""Place of every node that the snapshot does not hold."""
_HOST: Final = '{"Host":"'
_TAILS: Final = tuple(f'","Score":{score}}},{_HOST}' for score in range(BEST + 1))
"""From one name to the next in a HostPriorityList."""


_log = structlog.get_logger()


class LateError(Exception):
    """The deadline of a request has passed."""


class FilterAnswer(NamedTuple):
    """ExtenderFilterResult as JSON, how many nodes it rejects, and which pass if it does, with their JSON."""

    body: bytes
    rejected: int = 0
    passed: list[str] | None = None
    written: bytes = b""
    reasons: Sequence[bytes] = ()
    """``"name":"reason"`` of each rejected node."""

    @property
    def only(self) -> str | None:
        """The node that passes, if it is the only one."""
        return self.passed[0] if self.passed and len(self.passed) == 1 else None


class Scores(NamedTuple):
    """HostPriorityList as JSON, and the node that it commits the pod to."""

    body: bytes
    chosen: str | None
    costs: Sequence[float | None] = ()
    """Of each candidate, where they were computed; None: nothing is known of it."""
    by_cost: Mapping[float | None, int] = MappingProxyType({})
    """The score of each of ``costs``, before one of the best is lifted."""


class TableKey(NamedTuple):
    """All of a demand and a snapshot on which a node's verdict depends, besides the node itself
    (``node_verdict.judge``)."""

    tx: float
    rx: float
    suffers: bool
    scarce: bool
    by_default_route: bool

    @classmethod
    def of(cls, demand: Demand, snapshot: Snapshot) -> TableKey:
        if demand.hurts:
            # Only mice leave free links to elephants.
            return cls(demand.tx, demand.rx, demand.suffers, False, demand.by_default_route)
        return cls(0.0, 0.0, demand.suffers, snapshot.scarce, demand.by_default_route)


@dataclass(frozen=True, slots=True)
class _Table:
    """The verdicts of one key, by place."""

    demand: Demand
    reasons: list[bytes | None]
    """``"name":"reason"`` for an unsuitable node, ``_SUITS`` for one that suits, None where nothing is known."""
    costs: list[float | None]
    open: set[int]
    """Places that are not computed yet, or out of date."""
    distinct: dict[float, float]
    """Each cost once, so that nodes that cost alike share it."""


class _Found(NamedTuple):
    """Where names stand in the tables, and whether it is known that they stand in JSON as they are."""

    places: list[int]
    plain: bool


class _Places:
    """Where each node of the snapshot stands in the tables."""

    def __init__(self, names: Sequence[str]) -> None:
        # Encoded and decoded, so that the strings lie side by side: a look-up mostly waits for memory.
        self.names: list[str] = ["", *orjson.loads(orjson.dumps(list(names)))]
        self.of: dict[str, int] = {name: place for place, name in enumerate(self.names) if place != _UNSEEN}
        self._plain = _plain(self.names) is self.names
        self._known: list[tuple[Sequence[str], _Found]] = []

    def find(self, names: Sequence[str]) -> _Found:
        """The places of ``names``: looked up, unless the last request named the same nodes."""
        for known, found in self._known:
            if known is names or known == names:
                return found
        try:
            found = _Found(list(map(self.of.__getitem__, names)), self._plain)
        except KeyError:
            found = _Found([self.of.get(name, _UNSEEN) for name in names], False)
        self._known = [(names, found)]
        return found

    def expect(self, names: Sequence[str], found: _Found) -> None:
        """Keep what the next request is likely to name: prioritize follows filter."""
        self._known[1:] = [(names, found)]


def _plain(names: Sequence[str]) -> Sequence[str]:
    """``names`` as they stand between quotation marks in JSON: nearly always as they are."""
    text = "".join(names)
    if text.isascii() and len(orjson.dumps(text)) == len(text) + 2:
        return names
    return [orjson.dumps(name)[1:-1].decode() for name in names]


class Tables:
    """See the module. ``clock`` is monotonic seconds, the clock of every ``deadline`` here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, model: CostModel = DEFAULT_COST_MODEL) -> None:
        self._clock, self._model = clock, model
        self.failures = 0
        """Verdicts on single nodes that failed; those nodes counted as unknown."""
        self._logged_at = -math.inf
        self._snapshot = Snapshot(version=-1)  # older than any: the first one is taken in whole
        self._places = _Places(())
        self._tables: OrderedDict[TableKey, _Table] = OrderedDict()

    def filter(
        self, names: Sequence[str], demand: Demand, placement: PlacementMode, snapshot: Snapshot, deadline: float,
        *, written: bytes | None = None,
    ) -> FilterAnswer:  # fmt: skip
        """``filtering.filter_nodes`` as JSON; no name may be empty. Raises LateError past ``deadline``.

        ``written`` is ``names`` as JSON, where the request had them so.
        """
        if placement in (PlacementMode.SCORE, PlacementMode.IGNORE) or demand.neutral:
            return _everything(names, written)
        self._follow(snapshot)
        places, plain = self._places.find(names)
        found = list(map(self._table(demand, places, deadline).reasons.__getitem__, places))
        rejected = list(filter(None, found))
        if not rejected or (placement is PlacementMode.PREFER and _SUITS not in found):
            return _everything(names, written)
        stays = list(map(not_, found))
        passed = list(compress(names, stays))
        self._places.expect(passed, _Found(list(compress(places, stays)), plain))
        written = orjson.dumps(passed)
        body = b'{"NodeNames":%b,"FailedAndUnresolvableNodes":{%b},"Error":""}' % (written, b",".join(rejected))
        return FilterAnswer(body, len(rejected), passed, written, rejected)

    def prioritize(
        self, names: Sequence[str], demand: Demand, snapshot: Snapshot, deadline: float, uid: str | None = None
    ) -> Scores:
        """``scoring.score_nodes`` as a HostPriorityList. Conditions and errors as for ``filter``.

        With the pod's ``uid``: as ``tie_break.break_tie`` leaves it, if the node that it chooses is a known one.
        """
        if demand.neutral:
            return Scores(_listed(_plain(names), [_TAILS[NEUTRAL]] * len(names)), None)
        self._follow(snapshot)
        places, plain = self._places.find(names)
        listed = names if plain else _plain(names)
        costs = list(map(self._table(demand, places, deadline).costs.__getitem__, places))
        distinct = set(costs)
        scores: dict[float | None, int] = {None: NEUTRAL}
        for cost, score in score_table({cost for cost in distinct if cost is not None}).items():
            scores[cost] = score
        if uid is None or not names:
            return Scores(_listed(listed, _tails(costs, scores)), None, costs, scores)
        top = max(map(scores.__getitem__, distinct))
        best = {cost for cost in distinct if scores[cost] == top}
        equals = list(compress(range(len(costs)), map(best.__contains__, costs)))
        chosen = equals[pick(uid, len(equals))]
        if costs[chosen] is None:  # an unknown node is never preferred
            return Scores(_listed(listed, _tails(costs, scores)), None, costs, scores)
        if top == BEST:
            scores.update(dict.fromkeys(best, BEST - 1))
        tails = _tails(costs, scores)
        lifted, place = _TAILS[min(top + 1, BEST)], places[chosen]
        tails[chosen] = lifted
        if places.count(place) > 1:  # sent twice, scored twice
            for at in [at for at, other in enumerate(places) if other == place]:
                tails[at] = lifted
        return Scores(_listed(listed, tails), names[chosen], costs, scores)

    def work_ahead(self, snapshot: Snapshot, deadline: float) -> bool:
        """Compute what the tables lack, until ``deadline``; whether anything is left to do."""
        self._follow(snapshot)
        try:
            for key, table in list(self._tables.items()):
                if len(table.open) >= AHEAD_FROM:
                    self._compute(table, list(table.open), key.scarce, deadline)
        except LateError:
            return True
        return False

    def _failed(self, node: str, error: str) -> None:
        self.failures += 1
        now = self._clock()
        if now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            _log.warning("verdict on a node failed, the node counts as unknown", node=node, error=error)

    def _follow(self, snapshot: Snapshot) -> None:
        """Take in what ``snapshot`` changed since the last one."""
        if snapshot is self._snapshot:
            return
        changed = snapshot.changed_since(self._snapshot.version)
        self._snapshot = snapshot
        places = self._places.of
        if changed is None or any((name in places) is not (name in snapshot.nodes) for name in changed):
            self._tables.clear()
            self._places = _Places(tuple(snapshot.nodes))
            return
        again = {places[name] for name in changed if name in places}
        for table in self._tables.values():
            table.open.update(again)

    def _table(self, demand: Demand, places: list[int], deadline: float) -> _Table:
        """The table of ``demand``, computed at ``places``."""
        key = TableKey.of(demand, self._snapshot)
        table = self._tables.get(key)
        if table is None:
            size = len(self._places.names)
            table = self._tables[key] = _Table(demand, [None] * size, [None] * size, set(range(1, size)), {})
            if len(self._tables) > MAX_TABLES:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(key)
        if table.open:
            # Computing so few takes less time than finding out which of them are candidates.
            wanted = list(table.open) if len(table.open) < AHEAD_FROM else table.open.intersection(places)
            self._compute(table, wanted, key.scarce, deadline)
        return table

    def _compute(self, table: _Table, places: Collection[int], scarce: bool, deadline: float) -> None:
        for count, place in enumerate(places, 1):
            name = self._places.names[place]
            view = self._snapshot.nodes[name]
            judged = judge(table.demand, view, scarce, self._model)
            if judged.error:
                self._failed(name, judged.error)
            table.reasons[place] = _reason(name, judged)
            cost = judged.cost
            table.costs[place] = None if cost is None else table.distinct.setdefault(cost, cost)
            table.open.discard(place)
            if count % _CHECK_EVERY == 0 and self._clock() > deadline:
                raise LateError
        if not table.open:
            table.open.clear()  # shrinks the set, which every later pass would walk through


def _listed(names: Sequence[str], tails: list[str]) -> bytes:
    """HostPriorityList as JSON: each name (``_plain``), and what follows it."""
    if not names:
        return b"[]"
    pieces = [""] * (2 * len(names))
    pieces[0::2], pieces[1::2] = names, tails
    pieces[-1] = tails[-1].removesuffix("," + _HOST)
    return f"[{_HOST}{''.join(pieces)}]".encode()


def _tails(costs: list[float | None], scores: dict[float | None, int]) -> list[str]:
    tails = {cost: _TAILS[score] for cost, score in scores.items()}
    return list(map(tails.__getitem__, costs))


def _reason(name: str, judged: Judgement) -> bytes | None:
    if not judged.known:
        return None
    if judged.reason is None:
        return _SUITS
    return b"%b:%b" % (orjson.dumps(name), orjson.dumps(judged.reason))


def _everything(names: Sequence[str], written: bytes | None) -> FilterAnswer:
    """Every node passes."""
    body = written if written is not None else orjson.dumps(names)
    return FilterAnswer(b'{"NodeNames":%b,"FailedAndUnresolvableNodes":{},"Error":""}' % body)
