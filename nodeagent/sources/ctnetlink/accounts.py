# SPDX-License-Identifier: Apache-2.0
"""What each owner has sent and received so far.

Enters: what flows added, with their attribution. Leaves: ``Counters`` per owner. Guarantees: counters only grow.
An owner that left the node keeps its account while flows are stamped with it, and for some readings after.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from nodeagent.sources.base import CARRIER, HISTOGRAM_BUCKETS, NO_PODS, Counters
from nodeagent.sources.ctnetlink.attribution import Attribution

KEPT_READINGS: Final = 3
"""Readings for which an owner without flows is still shown after it left the node."""


class Account:
    """One owner's counters, and the tracked flows stamped with it."""

    __slots__ = ("absent", "counters", "flows")

    def __init__(self) -> None:
        self.counters = Counters()
        self.flows = 0
        self.absent = 0


class Charge:
    """An attribution with its accounts. All flows of one attribution share one."""

    __slots__ = ("accounts", "attribution", "carrier", "has_pod", "local", "responder")

    def __init__(self, attribution: Attribution, accounts: tuple[Account, ...]) -> None:
        self.attribution = attribution
        self.accounts = accounts
        self.local = attribution.local
        self.responder = attribution.responder
        self.carrier = attribution.owners == (CARRIER,)
        self.has_pod = any(attribution.stamps)

    def add(self, orig: tuple[int, int], reply: tuple[int, int], *, elephant: bool) -> None:
        """Charge (packets, bytes) of both directions, not negative, to every owner."""
        if self.local:
            for account in self.accounts:
                account.counters.local_bytes += orig[1] + reply[1]
            return
        counters = self.accounts[0].counters
        sent, received = (reply, orig) if self.responder else (orig, reply)
        counters.tx_packets += sent[0]
        counters.tx_bytes += sent[1]
        counters.rx_packets += received[0]
        counters.rx_bytes += received[1]
        if elephant:
            counters.tx_elephant_bytes += sent[1]
            counters.rx_elephant_bytes += received[1]

    def born(self) -> None:
        """Count that a flow over the link began. Flows inside the node do not count: health probes would make
        every pod look busy with mice. Neither do tunnels: what they carry does."""
        if not (self.local or self.carrier):
            self.accounts[0].counters.flows_born += 1

    def ended(self, size: int | None, lifetime: float, mouse_bytes: int) -> None:
        """A flow over the link ended after ``lifetime`` seconds; ``size`` bytes, None when not counted."""
        if self.local or self.carrier:
            return
        counters = self.accounts[0].counters
        counters.flows_ended += 1
        if size is None:
            return
        counters.mice_ended += size < mouse_bytes
        counters.sizes[bucket(size)] += 1
        counters.lifetimes[bucket(round(lifetime * 1000))] += 1

    def hold(self) -> None:
        for account in self.accounts:
            account.flows += 1

    def release(self) -> None:
        for account in self.accounts:
            account.flows -= 1


class Accounts:
    """All accounts of an epoch."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._charges: dict[Attribution, Charge] = {}

    def charge(self, attribution: Attribution) -> Charge:
        """The shared charge of ``attribution``, its accounts opened when they are new."""
        charge = self._charges.get(attribution)
        if charge is None:
            accounts = tuple(self._accounts.setdefault(owner, Account()) for owner in attribution.owners)
            charge = self._charges[attribution] = Charge(attribution, accounts)
        return charge

    def snapshot(self, present: Collection[str]) -> dict[str, Counters]:
        """A copy of all owners' counters; ``present`` are the pods that are on this node now."""
        gone = [owner for owner, account in self._accounts.items() if self._is_gone(owner, account, present)]
        if gone:
            for owner in gone:
                del self._accounts[owner]
            left = self._accounts
            self._charges = {a: c for a, c in self._charges.items() if all(o in left for o in a.owners)}
        return {owner: _copied(account.counters) for owner, account in self._accounts.items()}

    @staticmethod
    def _is_gone(owner: str, account: Account, present: Collection[str]) -> bool:
        if owner in present or owner in NO_PODS or account.flows:
            account.absent = 0
            return False
        account.absent += 1
        return account.absent > KEPT_READINGS


def bucket(value: int) -> int:
    """Index of ``value`` in a log2 histogram of HISTOGRAM_BUCKETS."""
    return min(max(value, 0).bit_length(), HISTOGRAM_BUCKETS - 1)


def _copied(counters: Counters) -> Counters:
    return replace(counters, sizes=list(counters.sizes), lifetimes=list(counters.lifetimes))
