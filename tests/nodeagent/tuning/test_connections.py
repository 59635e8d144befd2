# SPDX-License-Identifier: Apache-2.0
"""What becomes of a tuning when the kernel answers about connections with errors, or not at all."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from nodeagent.sources.ctnetlink.wire import CT_NEW, NLMSG_ERROR
from nodeagent.tuning import conntrack
from nodeagent.tuning import conntrack_wire as wire
from nodeagent.tuning.conntrack import Connections
from nodeagent.tuning.journal import Journal, MarkRecord
from nodeagent.tuning.journal_file import JournalFile, boot_id, here
from nodeagent.tuning.modes import MOST_MARKED, MOST_ZONES, Refusal, TuningRefusedError
from nodeagent.tuning.undo import restore
from tests.nodeagent.tuning.test_pure import TWO, key


class Kernel:
    """Stands in for a netlink socket: each request gets the next of the ``answers``, an errno or an OSError."""

    def __init__(self, answers: Iterable[int | OSError]) -> None:
        self._answers = iter(answers)
        self._sequence = 0

    def send(self, request: bytes) -> None:
        self._sequence = struct.unpack_from("=I", request, 8)[0]

    def recv_into(self, buffer: bytearray) -> int:
        answer = next(self._answers)
        if isinstance(answer, OSError):
            raise answer
        message = struct.pack("=IHHIIi", 20, NLMSG_ERROR, 0, self._sequence, 0, -answer)
        buffer[: len(message)] = message
        return len(message)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "kept"), [(errno.EPERM, True), (errno.EAGAIN, True), (errno.ENOENT, False)], ids=errno.errorcode.get
)
def test_a_mark_stays_in_the_journal_until_the_kernel_says_that_its_connection_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: int, kept: bool
) -> None:
    monkeypatch.setattr(conntrack, "_netlink", lambda: Kernel([answer] * 3))
    file = JournalFile(tmp_path, here())
    written = Journal(boot_id(), here(), (MarkRecord(key(), 5, 0x2000),))
    file.write(written)
    outcome = restore(file)
    assert bool(outcome.failed) == kept
    assert file.read() == (written if kept else None)
    file.close()


def test_a_socket_that_cannot_be_made_again_is_a_refusal_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = iter([Kernel([OSError(errno.ENOBUFS, "No buffer space")])])

    def made() -> Kernel:
        try:
            return next(sockets)
        except StopIteration:
            raise OSError(errno.EMFILE, "Too many open files") from None

    monkeypatch.setattr(conntrack, "_netlink", made)
    connections = Connections()
    with pytest.raises(TuningRefusedError, match="Too many open files") as refused:
        connections.marked(0x2000)
    assert refused.value.refusal is Refusal.NO_CONNTRACK


class Flood(Kernel):
    """Knows nothing by its tuples, and lists connections without end."""

    def __init__(self, mark: int) -> None:
        super().__init__(itertools.repeat(errno.ENOENT))
        body = key(TWO) + wire._attribute(12, bytes(3) + b"\1") + wire._attribute(8, struct.pack(">I", mark))
        self._body, self._lists, self._listed = body, False, 0

    def send(self, request: bytes) -> None:
        super().send(request)
        self._lists = bool(struct.unpack_from("=H", request, 6)[0] & 0x200)

    def recv_into(self, buffer: bytearray) -> int:
        if not self._lists:
            return super().recv_into(buffer)
        assert self._listed < 20_000, "the list is taken without a bound"
        datagram = 100 * wire._message(CT_NEW, 0, self._sequence, socket.AF_INET, self._body)
        self._listed += 100
        buffer[: len(datagram)] = datagram
        return len(datagram)


def test_no_more_connections_are_taken_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "_netlink", lambda: Flood(0x2000))
    connections = Connections()
    assert len(connections.marked(0x2000)) == MOST_MARKED * MOST_ZONES + 1, "so many tell that others use the bit"
    assert len(connections.of(TWO)) == MOST_ZONES
