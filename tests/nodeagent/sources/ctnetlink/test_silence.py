# SPDX-License-Identifier: Apache-2.0
"""A kernel that does not answer a dump, or breaks it off: how often it is asked."""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import Any

import pytest

from nodeagent.sources.base import LossKind
from nodeagent.sources.ctnetlink import socket as module
from nodeagent.sources.ctnetlink.socket import MAX_DUMP_TRIES, ConntrackSockets
from nodeagent.sources.ctnetlink.wire import Decoder


class Netlink:
    """A socket whose every dump fails in one way."""

    asked = 0

    def __init__(self, code: int) -> None:
        self._code = code

    def send(self, _request: bytes) -> None:
        Netlink.asked += 1

    def recv_into(self, _buffer: bytearray) -> int:
        raise OSError(self._code, os.strerror(self._code))

    def setsockopt(self, *_option: Any) -> None: ...
    def setblocking(self, _blocking: bool) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize(("code", "asked"), [(errno.EAGAIN, 1), (errno.ENOBUFS, MAX_DUMP_TRIES)])
def test_a_silent_kernel_is_asked_once_and_one_that_breaks_off_again(
    monkeypatch: pytest.MonkeyPatch, code: int, asked: int
) -> None:
    monkeypatch.setattr(module, "_netlink", lambda: Netlink(code))
    monkeypatch.setattr(Netlink, "asked", 0)
    lost: Counter[LossKind] = Counter()
    sockets = ConntrackSockets(Decoder(), lost)
    assert sockets.dump(lambda _samples: None) is False
    assert Netlink.asked == asked
    assert lost[LossKind.DUMP_INTERRUPTED] == asked
