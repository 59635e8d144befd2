# SPDX-License-Identifier: Apache-2.0
"""What every long-running program of the project does alike: logs, signals, one-line errors."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import Any, Literal, NoReturn

import structlog

LogFormat = Literal["json", "text"]
EXIT_USAGE = 2
"""Exit status of every error that the operator can mend."""


def configure_logging(fmt: LogFormat, level: str) -> None:
    """Structured logs on stderr: one JSON object or one readable line per event; ``level`` as in ``logging``.

    Tracebacks come without the values of variables: these may be a credential, or a whole cluster, which takes a
    tenth of a second to write down.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if fmt == "json":
        processors.append(
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            )
        )
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the program with one line on stderr that names the remedy, and exit status 2."""
    print(f"error: {message}; {remedy}" if remedy else f"error: {message}", file=sys.stderr)
    raise SystemExit(EXIT_USAGE)
