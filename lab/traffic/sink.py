# SPDX-License-Identifier: Apache-2.0
"""The elephants' far end: discards what it receives, or sends on request.

Prints ``listening``, a line for each ended connection, and the totals as ``result`` when stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the checkout is not importable yet
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.traffic import common

CHUNK = 2**20
LOW_WATER = 128 * 1024
"""Bytes that wake the receiver: fewer wake-ups, less CPU. The end of data wakes it too."""

_scratch = bytearray(CHUNK)


def discard(connection: socket.socket) -> int:
    """Receive until the peer ends; the bytes received. Raises OSError when the connection breaks."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOW_WATER)
    total = 0
    # MSG_TRUNC on TCP: the kernel drops the data instead of copying it.
    while count := connection.recv_into(_scratch, CHUNK, socket.MSG_TRUNC):
        total += count
    return total


def supply(connection: socket.socket, wanted: int) -> int:
    """Send ``wanted`` bytes (0: until the peer ends); the bytes handed to the kernel."""
    total = 0
    try:
        while not wanted or total < wanted:
            total += connection.send(memoryview(common.BUFFER)[: wanted - total if wanted else len(common.BUFFER)])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    except OSError:
        if wanted and total < wanted:
            raise
    return total


class SinkServer:
    """Serves each connection by a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.ended: list[dict[str, Any]] = []

    def accept(self, server: socket.socket) -> None:
        """Accept for ever (in a daemon thread)."""
        while True:
            try:
                connection, address = server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        began = common.clock()
        with self._lock:
            self._open.add(connection)
        received = sent = 0
        broken = ""
        try:
            mode, wanted = _read_mode(connection)
            if mode == common.SEND:
                received = common.MODE.size + discard(connection)
            else:
                received = common.MODE.size
                common.congestion(connection, common.CONGESTION)
                sent = supply(connection, wanted)
        except (OSError, ValueError) as error:
            broken = str(error)
        info = common.tcp_info(connection)
        with self._lock:
            self._open.discard(connection)
            connection.close()
            ended = common.clock()
            report = {
                "peer": common.name_of(address), "sent": sent,
                "received": info.get("bytes_received", 0) if broken else received,
                "started": began, "ended": ended, "seconds": ended["monotonic"] - began["monotonic"],
                "tcp": info, "broken": broken,
            }  # fmt: skip
            self.ended.append(report)
            common.emit(connection=report)

    def result(self) -> dict[str, Any]:
        """Totals, open connections included."""
        with self._lock:
            infos = [common.tcp_info(connection) for connection in self._open]
            infos += [report["tcp"] for report in self.ended]
            return {"open": len(self._open), "ended": len(self.ended), "tcp": common.add_up(infos)}


def _read_mode(connection: socket.socket) -> tuple[bytes, int]:
    raw = connection.recv(common.MODE.size, socket.MSG_WAITALL)
    if len(raw) < common.MODE.size:
        raise ValueError("the connection ended before its mode came")
    mode, wanted = common.MODE.unpack(raw)
    if mode not in (common.SEND, common.RECEIVE):
        raise ValueError("the mode is unknown: the client is not one of the lab's elephants")
    return mode, wanted


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Exit status 0, or 2 when a port cannot be used."""
    parser = argparse.ArgumentParser(prog="sink", description=__doc__)
    parser.add_argument("--port", type=int, action="append", help="TCP port, may be repeated (default: 5001)")
    options = parser.parse_args(argv)
    stop, sink = common.StopRequest(), SinkServer()
    threading.stack_size(256 * 1024)
    ports = options.port or [5001]
    try:
        servers = [common.listen(port) for port in ports]
    except OSError as error:
        print(f"error: ports {ports}: {error.strerror}; choose others with --port", file=sys.stderr)
        return 2
    for server in servers:
        threading.Thread(target=sink.accept, args=(server,), daemon=True).start()
    common.emit(listening=ports, **common.clock())
    stop.wait()
    common.emit(result="sink", **sink.result(), ended_at=common.clock())
    for server in servers:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
