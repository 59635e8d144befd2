# SPDX-License-Identifier: Apache-2.0
"""Bulk TCP, one direction: ``elephant.py 10.0.0.1:5001 --seconds 30 --connections 2``.

The far end is sink.py, and this program waits until it listens. Prints ``progress`` lines and a ``result`` with
bytes and goodput. Bytes count once the far end has acknowledged them (with --reverse: once received), never while
they only fill a buffer.
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the checkout is not importable yet
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.traffic import common

SO_MAX_PACING_RATE = 47
RETRY_SECONDS = 0.2
CONNECT_SECONDS = 2.0
DRAIN_SECONDS = 15.0
"""How long the far end may take to acknowledge what is still queued when sending is over."""
CHUNK = 2**20

_scratch = bytearray(CHUNK)


class BulkFlow(threading.Thread):
    """One connection, made again when it breaks."""

    def __init__(self, options: argparse.Namespace, stop: common.StopRequest, quota: int) -> None:
        super().__init__(daemon=True)
        self._options, self._halt, self._quota = options, stop, quota
        self._connection: socket.socket | None = None
        self._done = 0  # payload bytes of earlier connections that broke
        self._handed = 0  # bytes handed to the kernel on this connection
        self.over = threading.Event()
        """Sending is over: time is up."""
        self.infos: list[dict[str, int]] = []
        self.local = self.congestion = ""
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.complete = False

    def run(self) -> None:
        while not (self._halt.is_set() or self.over.is_set() or self.complete):
            try:
                connection = self._connect()
            except OSError:
                self._halt.wait(RETRY_SECONDS)
                continue
            self.started = self.started or common.clock()
            self.local = common.name_of(connection.getsockname())
            self._connection = connection
            with suppress(OSError):  # broken by the far end, or by ``cut``
                (self._receive if self._options.reverse else self._send)(connection)
                self.complete = not self._halt.is_set()  # else it was cut short, however far it got
            self._record(connection)
        self.ended = self.ended or common.clock()

    def cut(self) -> None:
        """End at once, without waiting for what is queued."""
        connection = self._connection
        if connection is not None:
            self._record(connection, reset=True)

    def carried(self) -> int:
        """Bytes of the connection's stream acknowledged (or received) so far, over all connections."""
        connection = self._connection
        info = common.tcp_info(connection) if connection else {}
        return self._done + self._payload(info)

    def _payload(self, info: dict[str, int]) -> int:
        if self._options.reverse:
            return info.get("bytes_received", 0)
        # The kernel's count includes the SYN, and the FIN once that is acknowledged.
        return min(max(0, info.get("bytes_acked", 0) - 1), self._handed)

    def _connect(self) -> socket.socket:
        host, port = self._options.target
        family, address = common.resolve(host, port)
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            if self._options.rate:
                pace = struct.pack("Q", max(1, int(self._options.rate / 8 / self._options.connections)))
                connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, pace)
            self.congestion = common.congestion(connection, self._options.congestion)
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(address)
            connection.settimeout(None)
        except OSError:
            connection.close()
            raise
        return connection

    def _send(self, connection: socket.socket) -> None:
        connection.sendall(common.MODE.pack(common.SEND, 0))
        self._handed = common.MODE.size
        left = self._quota - self._done if self._quota else 0
        while not self.over.is_set() and (left > 0 or not self._quota):
            sent = connection.send(memoryview(common.BUFFER)[: left if self._quota else len(common.BUFFER)])
            self._handed += sent
            left -= sent
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(DRAIN_SECONDS)
        connection.recv(1)  # the far end closes once it has read everything

    def _receive(self, connection: socket.socket) -> None:
        left = self._quota - self._done if self._quota else 0
        connection.sendall(common.MODE.pack(common.RECEIVE, left))
        while not self.over.is_set() and connection.recv_into(_scratch, CHUNK, socket.MSG_TRUNC):
            pass

    def _record(self, connection: socket.socket, *, reset: bool = False) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        self.ended = common.clock()
        info = common.tcp_info(connection)
        self._done += self._payload(info)
        self.infos.append(info)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that is blocked in it
        connection.close()


def run(options: argparse.Namespace, stop: common.StopRequest) -> list[BulkFlow]:
    """Start the flows, report, and end them: in order when their time is up, at once when ``stop`` is set."""
    share = -(-options.bytes // options.connections) if options.bytes else 0
    flows = [BulkFlow(options, stop, share) for _ in range(options.connections)]
    for flow in flows:
        flow.start()
    due = time.monotonic() + options.report
    while not stop.is_set() and any(flow.is_alive() for flow in flows):
        began = min((flow.started["monotonic"] for flow in flows if flow.started), default=None)
        end = began + options.seconds if began and options.seconds else None
        now = time.monotonic()
        if end and now >= end:
            break
        if now >= due:
            common.emit(
                progress=sum(flow.carried() for flow in flows), started=began is not None, **common.clock()
            )
            due += options.report
        # Short while nobody knows when it will begin or end, else until the next report or the end.
        nap = 0.02 if began is None or options.bytes else due - now
        stop.wait(max(0.0, min(nap, due - now, end - now if end else nap)))
    _finish(flows, stop, patient=not options.reverse)
    return flows


def _finish(flows: Sequence[BulkFlow], stop: common.StopRequest, *, patient: bool) -> None:
    for flow in flows:
        flow.over.set()
    deadline = time.monotonic() + DRAIN_SECONDS
    while patient and not stop.is_set() and time.monotonic() < deadline and any(f.is_alive() for f in flows):
        stop.wait(0.01)
    for flow in flows:
        if flow.is_alive():
            flow.cut()
            flow.join(1.0)


def result(options: argparse.Namespace, flows: Sequence[BulkFlow]) -> dict[str, Any]:
    """The final line. ``goodput`` in bit/s between the first connection and the last acknowledgement."""
    carried = sum(flow.carried() for flow in flows)
    started = min((flow.started for flow in flows if flow.started), key=lambda c: c["monotonic"], default=None)
    ended = max((flow.ended for flow in flows if flow.ended), key=lambda c: c["monotonic"], default=None)
    seconds = ended["monotonic"] - started["monotonic"] if started and ended else 0.0
    return {
        "target": f"{options.target[0]} {options.target[1]}",
        "direction": "receive" if options.reverse else "send",
        "bytes": carried,
        "goodput": carried * 8 / seconds if seconds > 0 else 0.0,
        "seconds": seconds,
        "started": started,
        "ended": ended,
        "complete": all(flow.complete for flow in flows) or (options.reverse and bool(options.seconds)),
        "broken": sum(max(0, len(flow.infos) - 1) for flow in flows),
        "congestion": flows[0].congestion,
        "local": [flow.local for flow in flows],
        "tcp": common.add_up(info for flow in flows for info in flow.infos),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 when the far end was never reached."""
    parser = argparse.ArgumentParser(prog="elephant", description=__doc__)
    parser.add_argument("target", type=common.target, help="ADDRESS:PORT of sink.py")
    parser.add_argument("--seconds", type=common.positive, help="how long (default: until SIGTERM)")
    parser.add_argument("--bytes", type=int, default=0, help="how much in all (default: no limit)")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--rate", type=common.bits, default=0.0, help="bit/s at most, such as 50M (default: none)")
    parser.add_argument("--congestion", default=common.CONGESTION, help="TCP congestion control (default: cubic)")
    parser.add_argument("--reverse", action="store_true", help="receive instead of sending")
    parser.add_argument("--report", type=common.positive, default=5.0, help="seconds between progress lines")
    options = parser.parse_args(argv)
    if options.connections < 1 or options.bytes < 0:
        parser.error("--connections must be at least 1, --bytes not negative")
    stop = common.StopRequest()
    common.emit(waiting_for=common.name_of(options.target), **common.clock())
    final = result(options, run(options, stop))
    common.emit(result="elephant", **final)
    return 0 if final["started"] else 1


if __name__ == "__main__":
    sys.exit(main())
