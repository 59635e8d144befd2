# SPDX-License-Identifier: Apache-2.0
"""Warnings of uvicorn and asyncio as events of our own log.

Enters: records of the standard library's logging. Leaves: structlog events in the format of every other one, and
counts by logger. Guarantees: of records that a client can cause again and again, one line in ten seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

import structlog

from extender.serving.limits import RateLimitedLog

LOGGERS: Final = ("uvicorn", "asyncio")


class _Forward(logging.Handler):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__(logging.WARNING)
        self._counts, self._limit, self._log = counts, RateLimitedLog(), structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        source = record.name.partition(".")[0]
        self._counts[source] += 1
        first_line, _, _ = str(record.msg).partition("\n")
        kind = f"{source} {first_line[:60]}"
        if self._limit.due(kind):
            level = self._log.error if record.levelno >= logging.ERROR else self._log.warning
            level(record.getMessage().strip(), source=source, exc_info=record.exc_info)


class ForwardedLogs:
    """Forwards until ``close``. ``counts``: warnings and errors by the name of their logger."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._handler = _Forward(self.counts)
        self._before = [(logging.getLogger(name), logging.getLogger(name).propagate) for name in LOGGERS]
        for logger, _ in self._before:
            logger.addHandler(self._handler)
            logger.propagate = False

    def close(self) -> None:
        for logger, propagated in self._before:
            logger.removeHandler(self._handler)
            logger.propagate = propagated
