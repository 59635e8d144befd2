"""The answers for many nodes at once: what each node means for a demand, worked out once and kept.

Enters: candidate names, a demand, a placement mode and the snapshot. Leaves: the two answers as JSON. Says
exactly what ``filtering.filter_nodes`` and ``scoring.score_nodes`` say (property tests hold them together), in a
few microseconds per hundred nodes: a verdict depends only on the node's view and on the few numbers of a demand
that cost and filter look at, so that pods which ask alike share a table, and a new snapshot costs a table only
the nodes that it changed. Names are looked up once per pod; everything else is a list by the node's place. An
answer is made of the names as they came: what is fetched from memory for each candidate is most of its time.
Belongs to one thread. Memory: two pointers and at most one reason per node in each of ``MAX_TABLES`` tables.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Final, NamedTuple

import orjson

from extender.commitment import pick
from extender.demand import Demand
from extender.filtering import unsuitable
from extender.scoring import BEST, NEUTRAL, comparable_cost, score_table
from extender.snapshot import NodeView, Snapshot
from footprint.wishes import Placement

MAX_TABLES: Final = 64
"""Kinds of demand kept. All mice share two (links scarce or not); elephants have one for each rate at two
significant digits."""

AHEAD_TABLES: Final = 24
"""Tables kept complete between requests: the kinds of demand asked about last."""

_CHECK_EVERY: Final = 64
"""Nodes worked out between two looks at the clock: some tenths of a millisecond."""

_SUITS: Final = b""
_UNSEEN: Final = 0
"""Place of every node that the snapshot does not hold."""
_HOST: Final = '{"Host":"'
_TAILS: Final = tuple(f'","Score":{score}}},{_HOST}' for score in range(BEST + 1))
"""From one name to the next in a HostPriorityList."""


class LateError(Exception):
    """The time for an answer is over."""


class FilterAnswer(NamedTuple):
    """ExtenderFilterResult as JSON, how many nodes it rejects, and the node that passes if only one does."""

    body: bytes
    rejected: int
    only: str | None = None


class Scores(NamedTuple):
    """HostPriorityList as JSON, and the node that it commits the pod to."""

    body: bytes
    chosen: str | None


class Question(NamedTuple):
    """All of a demand and a snapshot that a node's verdict depends on, besides the node (``scoring.node_cost``,
    ``filtering.unsuitable``)."""

    tx: float
    rx: float
    suffers: bool
    scarce: bool

    @classmethod
    def of(cls, demand: Demand, snapshot: Snapshot) -> Question:
        if demand.hurts:
            return cls(demand.tx, demand.rx, demand.suffers, False)  # mice alone make room for elephants
        return cls(0.0, 0.0, demand.suffers, snapshot.scarce)


@dataclass(frozen=True, slots=True)
class _Table:
    """One question's answers by place."""

    demand: Demand
    reasons: list[bytes | None]
    """``"name":"reason"`` for an unsuitable node, ``_SUITS`` for one that suits, None where nothing is known."""
    costs: list[float | None]
    open: set[int]
    """Places not worked out yet, or no longer right."""
    distinct: dict[float, float]
    """Each cost once, so that nodes that cost alike share it."""


class _Places:
    """Where each node of the snapshot stands in the tables."""

    def __init__(self, names: Sequence[str]) -> None:
        # Written and read back, so that the strings lie side by side: a look-up is mostly waiting for memory.
        self.names: list[str] = ["", *orjson.loads(orjson.dumps(list(names)))]
        self.of: dict[str, int] = {name: place for place, name in enumerate(self.names) if place != _UNSEEN}
        self._known: list[tuple[Sequence[str], list[int]]] = []

    def find(self, names: Sequence[str]) -> list[int]:
        """The places of ``names``: looked up, unless the last question named the same nodes."""
        for known, places in self._known:
            if known == names:
                return places
        try:
            found = list(map(self.of.__getitem__, names))
        except KeyError:
            found = [self.of.get(name, _UNSEEN) for name in names]
        self._known = [(names, found)]
        return found

    def expect(self, names: Sequence[str], places: list[int]) -> None:
        """The next question may well name these: prioritize follows filter."""
        self._known[1:] = [(names, places)]


def _plain(names: Sequence[str]) -> Sequence[str]:
    """``names`` as they stand between quotation marks in JSON: nearly always as they are."""
    text = "".join(names)
    if text.isascii() and len(orjson.dumps(text)) == len(text) + 2:
        return names
    return [orjson.dumps(name)[1:-1].decode() for name in names]


class Tables:
    """See the module. ``clock`` is monotonic seconds, the clock of every ``deadline`` here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._snapshot = Snapshot(version=-1)  # older than any: the first one is taken in whole
        self._places = _Places(())
        self._tables: OrderedDict[Question, _Table] = OrderedDict()

    def filter(
        self, names: Sequence[str], demand: Demand, placement: Placement, snapshot: Snapshot, deadline: float
    ) -> FilterAnswer:
        """``filtering.filter_nodes`` as JSON; no name may be empty. Raises LateError past ``deadline``."""
        if placement in (Placement.SCORE, Placement.IGNORE) or demand.neutral:
            return _everything(names)
        self._follow(snapshot)
        places = self._places.find(names)
        found = list(map(self._table(demand, places, deadline).reasons.__getitem__, places))
        rejected = list(filter(None, found))
        if not rejected or (placement is Placement.PREFER and _SUITS not in found):
            return _everything(names)
        stays = list(map(not_, found))
        passed = list(compress(names, stays))
        self._places.expect(passed, list(compress(places, stays)))
        body = b'{"NodeNames":%b,"FailedAndUnresolvableNodes":{%b},"Error":""}' % (
            orjson.dumps(passed), b",".join(rejected),
        )  # fmt: skip
        return FilterAnswer(body, len(rejected), passed[0] if len(passed) == 1 else None)

    def prioritize(
        self, names: Sequence[str], demand: Demand, snapshot: Snapshot, deadline: float, uid: str | None = None
    ) -> Scores:
        """``scoring.score_nodes`` as a HostPriorityList. Conditions and errors as for ``filter``.

        With the pod's ``uid``: as ``commitment.commit`` leaves it, if the node that it chooses is a known one.
        """
        if demand.neutral:
            return Scores(_listed(names, [_TAILS[NEUTRAL]] * len(names)), None)
        self._follow(snapshot)
        places = self._places.find(names)
        costs = list(map(self._table(demand, places, deadline).costs.__getitem__, places))
        distinct = set(costs)
        scores: dict[float | None, int] = {None: NEUTRAL}
        for cost, score in score_table({cost for cost in distinct if cost is not None}).items():
            scores[cost] = score
        if uid is None or not names:
            return Scores(_listed(names, _tails(costs, scores)), None)
        top = max(map(scores.__getitem__, distinct))
        best = {cost for cost in distinct if scores[cost] == top}
        equals = list(compress(range(len(costs)), map(best.__contains__, costs)))
        chosen = equals[pick(uid, len(equals))]
        if costs[chosen] is None:  # nothing speaks for a node of which nothing is known
            return Scores(_listed(names, _tails(costs, scores)), None)
        if top == BEST:
            scores.update(dict.fromkeys(best, BEST - 1))
        tails = _tails(costs, scores)
        lifted, place = _TAILS[min(top + 1, BEST)], places[chosen]
        tails[chosen] = lifted
        if places.count(place) > 1:  # sent twice, scored twice
            for at in [at for at, other in enumerate(places) if other == place]:
                tails[at] = lifted
        return Scores(_listed(names, tails), names[chosen])

    def work_ahead(self, snapshot: Snapshot, deadline: float) -> bool:
        """Use idle time until ``deadline`` for what the tables used last lack; whether anything is left to do."""
        self._follow(snapshot)
        try:
            for question, table in list(self._tables.items())[-AHEAD_TABLES:]:
                if table.open:
                    self._work_out(table, table.open.copy(), question.scarce, deadline)
        except LateError:
            return True
        return False

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
        """The table of ``demand``, worked out at ``places``."""
        question = Question.of(demand, self._snapshot)
        table = self._tables.get(question)
        if table is None:
            size = len(self._places.names)
            table = self._tables[question] = _Table(demand, [None] * size, [None] * size, set(range(1, size)), {})
            if len(self._tables) > MAX_TABLES:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(question)
        if table.open:
            self._work_out(table, table.open.intersection(places), question.scarce, deadline)
        return table

    def _work_out(self, table: _Table, places: set[int], scarce: bool, deadline: float) -> None:
        for count, place in enumerate(places, 1):
            name = self._places.names[place]
            view = self._snapshot.nodes[name]
            table.reasons[place] = _reason(name, table.demand, view)
            cost = comparable_cost(table.demand, view, scarce)
            table.costs[place] = None if cost is None else table.distinct.setdefault(cost, cost)
            table.open.discard(place)
            if count % _CHECK_EVERY == 0 and self._clock() > deadline:
                raise LateError


def _listed(names: Sequence[str], tails: list[str]) -> bytes:
    """HostPriorityList as JSON: each name, and what follows it."""
    if not names:
        return b"[]"
    pieces = [""] * (2 * len(names))
    pieces[0::2], pieces[1::2] = _plain(names), tails
    pieces[-1] = tails[-1].removesuffix("," + _HOST)
    return f"[{_HOST}{''.join(pieces)}]".encode()


def _tails(costs: list[float | None], scores: dict[float | None, int]) -> list[str]:
    tails = {cost: _TAILS[score] for cost, score in scores.items()}
    return list(map(tails.__getitem__, costs))


def _reason(name: str, demand: Demand, view: NodeView) -> bytes | None:
    if not view.known:
        return None
    why = unsuitable(demand, view)
    return _SUITS if why is None else b"%b:%b" % (orjson.dumps(name), orjson.dumps(why))


def _everything(names: Sequence[str]) -> FilterAnswer:
    """Every node passes."""
    body = b'{"NodeNames":%b,"FailedAndUnresolvableNodes":{},"Error":""}' % orjson.dumps(names)
    return FilterAnswer(body, 0)
