# SPDX-License-Identifier: Apache-2.0
"""What uvicorn and asyncio warn of, in our own format, and not one line for each bad request."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from extender.serving.limits import Refusals
from extender.serving.server_log import ForwardedLogs
from tests.extender.raw_http import status_of
from tests.extender.running import served


@pytest.fixture
def forwarded() -> Iterator[ForwardedLogs]:
    logs = ForwardedLogs()
    yield logs
    logs.close()


@pytest.mark.usefixtures("forwarded")
def test_a_librarys_warning_is_an_event_of_our_log(capsys: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as lines:
        logging.getLogger("uvicorn.error").warning("Unsupported %s.", "upgrade")
    assert [(line["event"], line["log_level"], line["source"]) for line in lines] == [
        ("Unsupported upgrade.", "warning", "uvicorn")
    ]
    assert capsys.readouterr().err == "", "and nothing in another format"


def test_a_warning_again_and_again_is_one_line_and_all_are_counted(forwarded: ForwardedLogs) -> None:
    with capture_logs() as lines:
        for number in range(50):
            logging.getLogger("uvicorn.error").warning("bad request %d", number)
            logging.getLogger("asyncio").error("something else")
    assert [line["event"] for line in lines] == ["bad request 0", "something else"]
    assert forwarded.counts == {"uvicorn": 50, "asyncio": 50}


def test_bad_requests_are_one_line_and_all_are_counted() -> None:
    with capture_logs() as lines, served() as (port, server):
        for _ in range(20):
            assert status_of(port, b"nonsense\r\n\r\n") == 400
        assert server.refused["invalid-http"] == 20
    assert [line["reason"] for line in lines if line["event"] == "connection refused"] == ["invalid-http"]


def test_refusals_of_each_reason_are_counted_and_told_once() -> None:
    refusals = Refusals()
    with capture_logs() as lines:
        for reason in ("a", "b") * 10:
            refusals.count(reason, "why")
    assert refusals.counts == {"a": 10, "b": 10}
    assert [line["reason"] for line in lines] == ["a", "b"]
