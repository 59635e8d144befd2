# SPDX-License-Identifier: Apache-2.0
"""The process that sends: every datagram arrives, and its moment is told."""

from __future__ import annotations

import socket
import time

import pytest

from lab.bench.sender import IP_BYTES, PAYLOAD, Sender, crossed


@pytest.mark.parametrize(
    ("needed", "expected"), [(1, 10.0), (IP_BYTES, 10.0), (IP_BYTES + 1, 11.0), (3 * IP_BYTES, 12.0)]
)
def test_the_crossing_datagram_is_the_one_that_completes_the_bytes(needed: float, expected: float) -> None:
    assert crossed([10.0, 11.0, 12.0], needed) == expected


def test_bytes_that_were_never_sent_were_not_crossed() -> None:
    with pytest.raises(IndexError):
        crossed([10.0, 11.0], 2 * IP_BYTES + 1)


def test_flows_are_sent_one_after_the_other_with_their_moments() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        source.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with Sender(source, pace=PAYLOAD * 50.0) as sender:
            for _ in range(2):
                sender.begin(server.getsockname())
                received = [len(server.recv(2 * PAYLOAD)) for _ in range(4)]
                moments = sender.end()
                assert received == [PAYLOAD] * 4
                assert len(moments) >= 4
                assert began <= moments[0]
                assert moments == sorted(moments)
                assert moments[-1] <= time.monotonic()
                for _ in range(len(moments) - 4):  # the rest of this flow
                    server.recv(2 * PAYLOAD)
