# SPDX-License-Identifier: Apache-2.0
"""Thousands of damaged requests: each gets a response that an HTTP client knows, or none; nobody else notices."""

from __future__ import annotations

import gc
import logging
import re
import socket

import pytest

from tests.extender.raw_http import BODY, HEALTH, PATIENCE_SECONDS, connected, passed, read, request
from tests.extender.running import served, until
from tests.fuzzing import mutations

CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
VALID = [
    HEALTH,
    HEALTH * 3,
    request(),
    request(path="/prioritize", Expect="100-continue"),
    request(path="/explain"),
    request(Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQAAP__"),
    request(method="PUT"),
    request(b"", Content_Length="", Transfer_Encoding="chunked") + CHUNKS,
    b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
]
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
BROKEN = {500, 502, 504}
EVERY = 100
"""Damaged requests between two whole ones."""


def statuses(port: int, sent: bytes) -> list[int]:
    """Of all responses to ``sent``, after which this client says nothing more."""
    with connected(port) as (client, responses):
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            received = responses.read()
        except (ConnectionResetError, BrokenPipeError):
            return []
    assert received == b"" or STATUS.match(received)
    return [int(status) for status in STATUS.findall(received)]


@pytest.mark.timeout(900)
def test_no_damaged_request_does_more_than_be_refused(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.ERROR)
    with served() as (port, server):
        for number, (sent, which) in enumerate(mutations("HTTP variants", VALID)):
            assert not {status for status in statuses(port, sent) if status >= 500} - {501, 503, 505}, (
                which,
                sent,
            )
            if number % EVERY == 0:
                with connected(port) as (client, responses):
                    client.settimeout(PATIENCE_SECONDS)
                    client.sendall(request())
                    # Pods that were prioritized count as placed, so the other nodes may be no worse.
                    assert "free" in passed(read(responses)[2]), which
        until(lambda: not server.server_state.connections)
    gc.collect()  # a task whose exception nobody takes is reported when it is collected
    assert [record.message for record in caplog.records] == []
    assert "Traceback" not in capsys.readouterr().err
