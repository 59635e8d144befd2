# SPDX-License-Identifier: Apache-2.0
"""Logs, as every program of the project writes them."""

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
