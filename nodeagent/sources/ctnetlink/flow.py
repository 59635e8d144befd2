# SPDX-License-Identifier: Apache-2.0
"""One tracked connection: its counters as last read, its owner and its state as an elephant."""

from __future__ import annotations

from collections.abc import Sequence

from nodeagent.sources.ctnetlink.accounts import Charge


class Standing:
    """An elephant's state: since when, how fast, and how long it has been slow (monotonic seconds, bit/s)."""

    __slots__ = ("rate", "since", "slow_since")

    def __init__(self, since: float, rate: float) -> None:
        self.since = since
        self.rate = rate
        self.slow_since: float | None = None


class TrackedFlow:
    """Mutable and slotted, because a node may have hundreds of thousands."""

    __slots__ = (
        "base_orig", "base_reply", "bytes_orig", "bytes_reply", "charge", "conversation", "first", "generation",
        "ident", "key", "others", "packets_orig", "packets_reply", "rebased", "seen_at", "shadow", "standing",
        "window", "zone",
    )  # fmt: skip

    def __init__(
        self,
        key: bytes,
        ident: int,
        charge: Charge,
        *,
        conversation: bool,
        now: float,
        generation: int,
        window: int,
    ) -> None:
        self.key = key
        self.ident = ident
        self.charge = charge
        self.conversation = conversation
        """Counts as a flow, besides its bytes."""
        self.seen_at = now
        self.generation = generation
        """The last dump that held it."""
        self.window = window
        """The last rate window in which it moved; ``base_*`` are its bytes when that window began."""
        self.packets_orig = self.bytes_orig = self.packets_reply = self.bytes_reply = 0
        self.base_orig = self.base_reply = 0
        self.standing: Standing | None = None
        self.zone = 0
        self.shadow = False
        """Another zone's entry of the same connection counts, or did when this one ended."""
        self.first: TrackedFlow | None = None
        """That entry, while it lives ..."""
        self.others: Sequence[TrackedFlow] = ()
        """... and for that one, its shadows."""
        self.rebased = False
        """It counts from its next sample on, for its shadow's part is counted."""
