# SPDX-License-Identifier: Apache-2.0
"""Every bound of the server, and the count of what it refused.

Enters: nothing. Leaves: ``Limits``, which the other modules of this folder obey, and ``Refusals``. The body of a
request is bounded where it is read (``extender.api.body``). Guarantees: a refusal is always counted, and writes at
most one log line for each reason in ten seconds.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

MAX_KINDS: Final = 100
"""Kinds of log lines that are limited apart from each other."""
QUIET_SECONDS: Final = 10.0
"""Between two log lines of one kind: a bad minute must not write thousands. All are counted."""


@dataclass(frozen=True, slots=True)
class PortLimits:
    """Places for the connections of one port."""

    connections: int
    """Served connections: on a TLS port, those that finished the handshake."""
    per_address: int
    handshakes: int = 200
    """Connections that did not finish their handshake yet. They use no slot of a served connection."""
    handshakes_per_address: int = 50


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of all ports. Times are seconds, sizes bytes."""

    main_port: PortLimits = PortLimits(connections=400, per_address=100)
    """A kube-scheduler holds a few."""
    metrics_port: PortLimits = PortLimits(connections=200, per_address=50)
    """Both ports together stay below the 1,024 file descriptors that every process may have."""
    head: int = 64 * 1024
    """URL, header fields and trailers of one request together."""
    fields: int = 100
    """Header fields and trailers of one request together."""
    pipelined: int = 8
    """Requests of one connection that wait for the response before theirs."""
    unsent: int = 64 * 2**20
    """Responses that clients did not read yet, over all connections."""
    join: int = 512 * 1024
    """Bytes of a body that are joined before the application begins: more than 5,000 names take."""
    join_together: int = 16 * 2**20
    """Bytes of bodies that are being joined, over all connections."""
    join_seconds: float = 0.02
    """From a request's head until the application begins, whatever is missing of the body."""
    handshake_seconds: float = 5.0
    head_seconds: float = 5.0
    """From a request's first byte to the end of its headers."""
    request_seconds: float = 60.0
    """From the end of a request's headers to its response."""
    unread_seconds: float = 10.0
    """In which a client must read, once its responses no longer fit into the socket's buffers."""
    closing_seconds: float = 5.0
    """In which a closed connection must be gone."""
    linger_seconds: float = 1.0
    """In which a refused client can read why, while what it still sends is dropped."""
    linger: int = 2**20
    """Bytes that are dropped so at most."""
    keep_alive_seconds: float = 120.0
    """Before the first request and between requests. Go's client keeps idle connections for 90 s, and a server
    that closes first fails POSTs."""


class RateLimitedLog:
    """Log lines of which each kind appears at most once in ``QUIET_SECONDS``. Belongs to one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, dict[str, float]()

    def due(self, kind: str) -> bool:
        """Whether a line of this kind may be written now."""
        now = self._clock()
        if now - self._last.get(kind, -math.inf) < QUIET_SECONDS:
            return False
        if len(self._last) >= MAX_KINDS:
            self._last.clear()
        self._last[kind] = now
        return True


class Refusals:
    """Connections and requests that the server turned away, by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._log, self._limit = structlog.get_logger(), RateLimitedLog()

    def count(self, reason: str, problem: object = None) -> None:
        self.counts[reason] += 1
        if self._limit.due(reason):
            self._log.warning(
                "connection refused", reason=reason, times=self.counts[reason], problem=str(problem or "")
            )
