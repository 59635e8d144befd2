# SPDX-License-Identifier: Apache-2.0
"""Logs and signals, as every program of the project handles them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FAILING = """
import structlog
from footprint.service import configure_logging
configure_logging({format!r}, "info")
def read(token):
    raise RuntimeError("refused")
try:
    read("s3" + "cret")
except RuntimeError:
    structlog.get_logger().exception("cannot read", path="/x")
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_is_told_without_the_values_of_variables(log_format: str) -> None:
    program = [sys.executable, "-c", FAILING.format(format=log_format)]
    told = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stderr
    for part in ("cannot read", "/x", "RuntimeError", "refused", "read"):
        assert part in told
    assert "s3cret" not in told
    assert "locals" not in told
    if log_format == "json":
        [line] = told.splitlines()
        event = json.loads(line)
        assert (event["event"], event["level"]) == ("cannot read", "error")
        assert event["exception"][0]["exc_type"] == "RuntimeError"


INTERRUPTED = """
import signal
from footprint.service import stop_on_signals
stop = stop_on_signals()
with stop._cond:  # held for a moment by every wait
    signal.raise_signal(signal.SIGTERM)
print(stop.wait())
"""


def test_a_signal_at_any_moment_of_a_wait_stops_the_program() -> None:
    program = [sys.executable, "-c", INTERRUPTED]
    assert subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout == "True\n"


def test_a_second_signal_ends_the_program_at_once() -> None:
    twice = INTERRUPTED.partition("with")[0] + "signal.raise_signal(15)\nsignal.raise_signal(15)\nprint('alive')"
    done = subprocess.run([sys.executable, "-c", twice], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-15, "")
