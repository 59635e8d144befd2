# SPDX-License-Identifier: Apache-2.0
"""The node's uplinks over time: what each can carry, who says so, and in which directions it is full.

Enters: at each reading, the uplinks' names and what elephants carry on each. Leaves: a ``LinkState`` for each.
Guarantees: at most ``MOST`` links are kept. What cannot be read keeps its capacity, and is not full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from footprint.models import CapacitySource, LinkRates, NodeFootprint
from nodeagent.node.capacity import signals
from nodeagent.node.capacity.direction import Direction
from nodeagent.node.capacity.driver import SYS_NET
from nodeagent.node.capacity.resolve import NO_RATES, NOT_KNOWN, Capacity, Claims, resolve
from nodeagent.node.capacity.saturation import IDLE
from nodeagent.node.capacity.stated import Statement, TypeRule, by_instance_type, by_node

MOST: Final = 16
REFRESH: Final = 30.0
"""Seconds between looks at drivers and devices."""
LEAST_STEP: Final = 0.5
"""Seconds. Elephants add readings, and counters of a shorter time say little."""
NOT_UNDERSTOOD: Final = "link-capacity-not-understood"
"""Among the footprint's reasons: what was stated of the node's links cannot be read."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LinkState:
    """One uplink now."""

    capacity: Capacity = NOT_KNOWN
    used: LinkRates = NO_RATES
    """bit/s of everything that it carried, smoothed."""
    full: tuple[str, ...] = ()
    """Of ``tx`` and ``rx``, those that are saturated."""


@dataclass(frozen=True, slots=True)
class Load:
    """What elephants do on a link, as far as it is known."""

    elephants: LinkRates = NO_RATES
    """bit/s."""
    flows: int = 0
    carriers: tuple[str, ...] = ()
    """Devices below the link that carry what it sends, such as a bond's members."""


class _Link:
    def __init__(self) -> None:
        self.tx, self.rx = Direction(), Direction()
        self.anatomy: signals.Anatomy | None = None
        self.looked_at: float | None = None
        self.carriers: tuple[str, ...] = ()
        self.last: signals.Signals | None = None

    def read(self, name: str, load: Load, now: float, sys_net: Path) -> None:
        """Raises OSError."""
        if self.looked_at is None or now - self.looked_at >= REFRESH or load.carriers != self.carriers:
            if load.carriers != self.carriers:
                self.last = None
            self.looked_at, self.carriers = now, load.carriers
            self.anatomy = signals.anatomy(name, load.carriers, sys_net)
        if self.anatomy is None or (self.last is not None and 0 <= now - self.last.at < LEAST_STEP):
            return
        found = signals.read(self.anatomy, now)
        step = signals.step(self.last, found) if self.last is not None else None
        self.last = found
        if step is not None:
            el, flows = load.elephants, load.flows
            self.tx.after(step.tx, step.seconds, busy=step.tx_busy, elephants=el.tx, flows=flows, now=now)
            self.rx.after(step.rx, step.seconds, busy=step.rx_busy, elephants=el.rx, flows=flows, now=now)

    def lost(self) -> None:
        """It cannot be read: what was last known of its queues says nothing any more."""
        self.anatomy = self.looked_at = self.last = None
        self.tx.saturation = self.rx.saturation = IDLE

    @property
    def full(self) -> tuple[str, ...]:
        return tuple(n for n, way in (("tx", self.tx), ("rx", self.rx)) if way.saturation.full)


class LinkCapacities:
    """State between readings; see the module."""

    def __init__(
        self,
        *,
        flag: float | None = None,
        table: Sequence[TypeRule] = (),
        assumed: float | None = None,
        node: Callable[[], Mapping[str, Any]] = dict,
        sys_net: Path = SYS_NET,
    ) -> None:
        self._flag, self._table, self._assumed, self._node = flag, tuple(table), assumed, node
        self._sys_net = sys_net
        self._links: dict[str, _Link] = {}
        self._metadata: Mapping[str, Any] | None = None
        self._by_node, self._by_type = Statement({}), Statement({})
        self.problems = 0
        """Texts about the node's links that were not understood."""

    def restore(self, name: str, before: NodeFootprint) -> None:
        """Go on from what an earlier agent published. ``name``: of the only link, where it does not say."""
        said = [(link.name, link.cap, link.by, link.sure) for link in before.uplinks]
        for link, cap, by, sure in said or [(before.up or name, before.cap, before.by, before.sure)]:
            if by == CapacitySource.ESTIMATED and link and len(self._links) < MOST:
                kept = self._links.setdefault(link, _Link())
                kept.tx.estimator.restore(cap.tx, sure)
                kept.rx.estimator.restore(cap.rx, sure)

    def advance(self, loads: Mapping[str, Load], now: float) -> Mapping[str, LinkState]:
        """The state of each link of ``loads`` at monotonic ``now``. Links that left are kept for a while."""
        self._read_node()
        self._keep(loads)
        return {name: self._advance(name, load, now) for name, load in list(loads.items())[:MOST]}

    @property
    def reasons(self) -> tuple[str, ...]:
        """For the footprint's ``bad``."""
        return (NOT_UNDERSTOOD,) if self._by_node.problems else ()

    @property
    def misunderstood(self) -> tuple[str, ...]:
        """What the Node states of its links that is not understood, in words."""
        return self._by_node.problems

    def _advance(self, name: str, load: Load, now: float) -> LinkState:
        link = self._links.setdefault(name, _Link())
        try:
            link.read(name, load, now, self._sys_net)
        except OSError as error:
            if link.last is not None:
                _log.warning("link cannot be read", uplink=name, error=str(error))
            link.lost()
        used = LinkRates(link.tx.used, link.rx.used)
        return LinkState(resolve(self._claims(name, link, used)), used, link.full)

    def _claims(self, name: str, link: _Link, used: LinkRates) -> Claims:
        return Claims(
            flag=self._flag, node=self._by_node.of(name), table=self._by_type.of(name),
            driver=link.anatomy.speed if link.anatomy else 0.0,
            tx=link.tx.learned, rx=link.rx.learned, carries=used,
            carried=LinkRates(link.tx.most, link.rx.most), assumed=self._assumed,
        )  # fmt: skip

    def _keep(self, names: Iterable[str]) -> None:
        """Links that left stay while there is room: they may come back with their estimate."""
        wanted = set(names)
        for name in [n for n in self._links if n not in wanted]:
            if len(self._links) <= MOST:
                return
            del self._links[name]

    def _read_node(self) -> None:
        metadata = self._node()
        if metadata is self._metadata:
            return
        self._metadata, before = metadata, self._by_node
        self._by_node, self._by_type = by_node(metadata), by_instance_type(metadata, self._table)
        for problem in self._by_node.problems:
            if problem not in before.problems:
                self.problems += 1
                _log.warning("what the Node states of its links is not understood", problem=problem)
        if self._by_node.rates != before.rates:
            _log.info("the Node states its links' capacity", rates=dict(self._by_node.rates))
