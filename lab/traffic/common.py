# SPDX-License-Identifier: Apache-2.0
"""What the traffic programs share: JSON output, stopping, sockets, and the kernel's counters of a connection."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

HEADER: Final = struct.Struct("!QII")
"""Of a mouse's request and answer: id, whole length of this message, wanted length of the answer (bytes)."""
MAX_MESSAGE: Final = 16 * 2**20

CONGESTION: Final = "cubic"
"""Of elephants, whatever the machine's default: a result must mean the same everywhere."""

MODE: Final = struct.Struct("!cQ")
"""An elephant's connection begins with it: SEND or RECEIVE (as the client sees it), bytes wanted or 0."""
SEND: Final = b"S"
RECEIVE: Final = b"R"

BUFFER: Final = bytes(256 * 1024)
"""What is sent; contents do not matter."""

_TCP_INFO: Final = {
    # name: (offset, format) in Linux's struct tcp_info
    "mss": (16, "I"), "rtt_us": (68, "I"), "retransmitted_segments": (100, "I"), "bytes_acked": (120, "Q"),
    "bytes_received": (128, "Q"), "segments_out": (136, "I"), "segments_in": (140, "I"),
    "bytes_unsent": (144, "I"),
    "data_segments_in": (152, "I"), "data_segments_out": (156, "I"), "bytes_sent": (200, "Q"),
    "bytes_retransmitted": (208, "Q"),
}  # fmt: skip
_ADDITIVE: Final = (
    "retransmitted_segments", "bytes_acked", "bytes_received", "segments_out", "segments_in", "data_segments_in",
    "data_segments_out", "bytes_sent", "bytes_retransmitted",
)  # fmt: skip


def emit(**fields: Any) -> None:
    """One JSON line, at once. A reader that went away ends nothing."""
    try:
        sys.stdout.write(json.dumps(fields, separators=(",", ":")) + "\n")
        sys.stdout.flush()
    except OSError:
        sys.stdout = sys.stderr


class StopRequest:
    """Set by SIGTERM and SIGINT, so that a program prints its last line.

    It takes no lock, unlike threading.Event. A handler that interrupted ``wait`` while that held the lock would
    wait for its own thread for ever.
    """

    def __init__(self) -> None:
        self._requested = False
        self.descriptor = os.eventfd(0)
        """Readable once it is set, for programs that wait in select or epoll. Nobody reads it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self.set())

    def set(self) -> None:
        """Ask the program to stop."""
        self._requested = True
        os.eventfd_write(self.descriptor, 1)

    def is_set(self) -> bool:
        return self._requested

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until it is set or ``timeout`` seconds have passed. Returns whether it is set."""
        select.select([self.descriptor], [], [], timeout)
        return self._requested


def run_promptly() -> None:
    """Let this program wake to the microsecond and before others, where the machine allows it.

    One machine plays all of a lab's nodes: a latency should be the network's, not that of its run queue.
    """
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1000")  # instead of the default 50,000
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)


def tcp_info(connection: socket.socket) -> dict[str, int]:
    """The kernel's counters of a connection; those it does not know are missing, and all once it is gone.

    ``bytes_acked`` counts the SYN as one byte. ``segments_out`` counts every segment sent, retransmitted and empty
    ones included; conntrack before the sender's queue counts the same, but merged ones as one packet.
    """
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return {}
    return {
        name: struct.unpack_from(kind, raw, offset)[0]
        for name, (offset, kind) in _TCP_INFO.items()
        if offset + struct.calcsize(kind) <= len(raw)
    }


def congestion(connection: socket.socket, name: str) -> str:
    """Ask for congestion control ``name``; the one in force, which is the namespace's own when that is refused."""
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def add_up(infos: Iterable[dict[str, int]]) -> dict[str, int]:
    """The counters of several connections together."""
    total = dict.fromkeys(_ADDITIVE, 0)
    for info in infos:
        for name in _ADDITIVE:
            total[name] += info.get(name, 0)
    return total


def clock() -> dict[str, float]:
    """Now, on both clocks; the monotonic one is shared by all namespaces of a machine."""
    return {"time": time.time(), "monotonic": time.monotonic()}


def listen(port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A listening (or bound datagram) socket for both families."""
    server = socket.socket(socket.AF_INET6, kind)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        server.listen(1024)
    return server


def resolve(host: str, port: int, kind: int = socket.SOCK_STREAM) -> tuple[int, Any]:
    """Family and address of a literal address (pods have no resolver). Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)[0]
    return family, address


def name_of(address: Any) -> str:
    """``host:port`` without the mapping prefix of IPv4 on a dual-stack socket."""
    host = str(address[0]).removeprefix("::ffff:")
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def target(text: str) -> tuple[str, int]:
    """argparse type: ``10.0.0.1:80`` or ``[fd00::1]:80``."""
    host, _, port = text.rpartition(":")
    try:
        resolve(host.strip("[]"), int(port))
    except (OSError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r}: write ADDRESS:PORT, an IPv6 address in brackets") from None
    return host.strip("[]"), int(port)


def bits(text: str) -> float:
    """argparse type: bit/s with an optional suffix k, M or G."""
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1:], 1.0)
    try:
        value = float(text.rstrip("kMG")) * scale
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write bit/s, such as 50M")
    return value


def positive(text: str) -> float:
    """argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
