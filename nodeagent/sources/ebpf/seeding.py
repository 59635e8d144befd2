# SPDX-License-Identifier: Apache-2.0
"""What connections carried before the program was attached: one ctnetlink dump, written to the map of seeds.

Effects: a netlink socket, map updates. A refused dump is no failure: flows then begin at their next packet, and
their sizes are not known.
"""

from __future__ import annotations

import time
from collections import Counter

import structlog

from nodeagent.sources.base import LossKind
from nodeagent.sources.ctnetlink.samples import NO_COUNTERS, Sample
from nodeagent.sources.ctnetlink.socket import ConntrackSockets
from nodeagent.sources.ctnetlink.wire import Decoder, parse_key
from nodeagent.sources.ebpf.kernel.layout import ORIGINAL, REPLY, Seed
from nodeagent.sources.ebpf.kernel.maps import Maps
from nodeagent.sources.ebpf.values import seed_key
from nodeagent.sources.tuples import is_conversation

_log = structlog.get_logger(__name__)


class Seeder:
    """Writes each connection once, however often it is dumped."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._written: set[bytes] = set()
        self._zoned = False
        self.refused = 0
        """Connections for which the map had no room."""
        self.unsized = 0
        """Connections the kernel had not counted: what they carried is not known."""

    def __len__(self) -> int:
        return len(self._written)

    def dump(self) -> bool:
        """Seed what is not seeded yet; False when some that exist may not be."""
        lost: Counter[LossKind] = Counter()
        try:
            sockets = ConntrackSockets(Decoder(), lost)
        except OSError as error:
            _log.warning("cannot list the open connections, their sizes stay unknown", problem=error.strerror)
            return False
        try:
            return sockets.dump(self._take) and not self.refused
        except OSError as error:
            _log.warning("cannot list the open connections, their sizes stay unknown", problem=error.strerror)
            return False
        finally:
            sockets.close()

    def _take(self, samples: list[Sample]) -> None:
        now = time.monotonic_ns()
        for key, _, _, original, _, reply in samples:
            if key in self._written or (tuples := parse_key(key)) is None or not is_conversation(tuples.protocol):
                continue
            if tuples.zone and not self._zoned:
                self._zoned = True
                self._maps.expect_zones()
            seed = Seed(born_ns=now, unsized=NO_COUNTERS in (original, reply))
            if not seed.unsized:
                seed.bytes[ORIGINAL], seed.bytes[REPLY] = original, reply
            try:
                self._maps.write_seed(seed_key(tuples), seed)
            except OSError:
                self.refused += 1
                continue
            self._written.add(key)
            self.unsized += seed.unsized
