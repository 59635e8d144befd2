# SPDX-License-Identifier: Apache-2.0
"""What all programs of the project share: logs, signals, one-line errors.

Enters: the format and level of logs, and messages. Leaves: events and one-line errors on standard error.
Guarantees: an error is one line, whatever text it repeats; a log holds no values of variables.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any, Final, Literal, NoReturn

from footprint.text import visible

LogFormat = Literal["json", "text"]
EXIT_USAGE: Final = 2
"""Exit status after every error that the operator can mend."""


def configure_logging(fmt: LogFormat, level: str) -> None:
    """Write structured logs to standard error.

    ``fmt``: one JSON object, or one readable line, for each event. ``level``: a name that ``logging`` knows.
    Tracebacks leave the values of variables out. A value may be a credential. It may also be a whole cluster,
    which takes a tenth of a second to write.
    """
    import structlog  # noqa: PLC0415 - a tenth of a second, which `--help` does not need

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
    """An event that SIGTERM or SIGINT sets. A second signal ends the process at once.

    A thread sets the event, because ``Event.set`` takes the lock that ``Event.wait`` takes. A handler that
    interrupted ``wait`` just there would wait for its own thread for ever.
    """
    stop = threading.Event()
    received = os.eventfd(0, os.EFD_CLOEXEC)
    numbers: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if numbers:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        numbers.append(number)
        os.eventfd_write(received, 1)

    def pass_on() -> None:
        os.eventfd_read(received)
        stop.set()

    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def fail(message: str, remedy: str = "") -> NoReturn:
    """End the program with exit status 2 and one line on standard error.

    ``message`` says what happened and why it matters, ``remedy`` what to do. Characters that a terminal would act
    on are spelled out.
    """
    line = f"error: {message}; {remedy}" if remedy else f"error: {message}"
    print(visible(line), file=sys.stderr)
    raise SystemExit(EXIT_USAGE)
