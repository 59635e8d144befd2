# SPDX-License-Identifier: Apache-2.0
"""Mice: small requests at a fixed rate, however slow the responses: ``mouse.py 10.96.0.5:8080 --rate 100``.

The loop is open. Each request is due at a fixed time and is sent then, even while earlier ones have no response.
Its latency counts from that time. So a stall shows in every request that fell due during it, not in one.

Requests go round robin over persistent connections, pipelined. A share of them may use a new connection each, and
its handshake counts. Prints ``progress`` lines and a ``result`` with counts and a latency histogram, which can be
merged (``lab.traffic.histogram``).
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

if not __package__:  # run by path: the checkout is not importable yet
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.traffic import common
from lab.traffic.histogram import bucket, quantile

RETRY_SECONDS = 0.1
STOP_DRAIN_SECONDS = 0.3
"""How long answers are still waited for after SIGTERM."""
CONNECT_SECONDS = 3.0
RECEIVE_BYTES = 2**18


def schedule(rate: float, seed: int | None) -> Iterator[float]:
    """Seconds from the start at which requests are due: evenly spaced, or Poisson arrivals drawn from ``seed``."""
    if seed is None:
        number = 0
        while True:
            yield number / rate
            number += 1
    draw, at = random.Random(seed), 0.0
    while True:
        at += draw.expovariate(rate)
        yield at


class RequestCounts:
    """Everything that is reported. Latencies in seconds come in, microsecond buckets go out."""

    def __init__(self) -> None:
        self.sent = self.answered = self.lost = self.connections = self.tx_bytes = self.rx_bytes = 0
        self.slowest = 0.0
        self.buckets: dict[int, int] = {}
        self.recent: dict[int, int] = {}
        self.infos = common.add_up(())

    def latency(self, seconds: float, *, counts: bool) -> None:
        self.answered += 1
        if counts:
            index = bucket(int(seconds * 1e6))
            self.buckets[index] = self.buckets.get(index, 0) + 1
            self.recent[index] = self.recent.get(index, 0) + 1
            self.slowest = max(self.slowest, seconds)

    def closed(self, connection: socket.socket) -> None:
        self.infos = common.add_up((self.infos, common.tcp_info(connection)))

    def quantiles(self, recent: bool = False) -> dict[str, float | None]:
        """Milliseconds."""
        values = {name: quantile(self.recent if recent else self.buckets, q) for name, q in _QUANTILES}
        return {name: None if value is None else round(value / 1000, 4) for name, value in values.items()}


_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))


class MouseConnection:
    """One connection (TCP) or socket (UDP): what is unsent, what came in, which requests it carries."""

    def __init__(self, family: int, address: Any, *, udp: bool, single: bool) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.udp, self.single = udp, single
        self.pending: dict[int, float] = {}
        self.received = bytearray()
        self.unsent = b""
        self.connected = udp
        self.began = time.monotonic()
        if not udp:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            self.socket.connect(address)

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, request: bytes) -> None:
        """Send, or keep what the connection does not take yet. Raises OSError when it is broken."""
        if self.unsent or not self.connected:
            self.unsent += request
        elif (sent := self.socket.send(request)) < len(request):
            self.unsent = request[sent:]

    def writable(self) -> None:
        """The connection is made, or takes more. Raises OSError when it was not made."""
        if not self.connected:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            self.connected = True
        if self.unsent:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    def readable(self) -> list[int]:
        """Ids of the requests whose whole answer has come. Raises OSError when the connection ended."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("ended by the server")
        if self.udp:
            return [common.HEADER.unpack_from(data)[0]] if len(data) >= common.HEADER.size else []
        self.received += data
        done, at = [], 0
        while len(self.received) - at >= common.HEADER.size:
            number, length, _ = common.HEADER.unpack_from(self.received, at)
            if len(self.received) - at < length or length < common.HEADER.size:
                break
            at += length
            done.append(number)
        del self.received[:at]
        return done


class MouseClient:
    """The client: one thread, one select loop, so that nothing but the network adds to a latency."""

    def __init__(self, options: argparse.Namespace, stop: common.StopRequest) -> None:
        self._options, self._stop = options, stop
        self._udp = options.protocol == "udp"
        self._family, self._address = common.resolve(*options.target)
        self._choose = random.Random(options.seed or 0)
        self._padding = bytes(max(0, options.request_bytes - common.HEADER.size))
        self._fixed: list[MouseConnection | None] = [None] * (0 if options.new_share >= 1 else options.connections)
        self._retry: list[tuple[float, int]] = []
        self._links: dict[int, MouseConnection] = {}
        self._counted_from = 0.0
        self.tally = RequestCounts()
        self.started: dict[str, float] = {}

    def wait_for_server(self) -> bool:
        """Until a connection can be made; False when stopped before."""
        while not self._stop.is_set():
            with socket.socket(self._family, socket.SOCK_STREAM) as probe:
                probe.settimeout(CONNECT_SECONDS)
                try:
                    probe.connect(self._address)
                except OSError:
                    self._stop.wait(RETRY_SECONDS)
                    continue
                self.tally.connections += 1
                self.tally.closed(probe)
                return True
        return False

    def run(self) -> None:
        """Send as scheduled until time is up or stopped, then wait for what is still unanswered."""
        for slot in range(len(self._fixed)):
            self._open_fixed(slot)
        self.started = common.clock()
        start = self.started["monotonic"]
        self._counted_from = start + self._options.warmup
        end = start + self._options.seconds if self._options.seconds else float("inf")
        report = start + self._options.report
        for number, offset in enumerate(schedule(self._options.rate, self._options.seed)):
            due = start + offset
            if due >= end:
                break
            while (now := time.monotonic()) < due and not self._stop.is_set():
                self._step(min(due, report) - now)
                if time.monotonic() >= report:
                    self._progress()
                    report += self._options.report
            if self._stop.is_set():
                break
            self._request(number, due)
            if now - due > 0.001:  # behind schedule: answers must not wait until the backlog is sent
                self._step(0)
        self._drain(STOP_DRAIN_SECONDS if self._stop.is_set() else self._options.drain)

    def _drain(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(link.pending for link in self._links.values()) and (left := deadline - time.monotonic()) > 0:
            if self._stop.is_set():
                left = min(left, 0.05)
                deadline = min(deadline, time.monotonic() + STOP_DRAIN_SECONDS)
            self._step(min(left, 0.1))
        for link in list(self._links.values()):
            self._close(link)

    def _request(self, number: int, due: float) -> None:
        request = (
            common.HEADER.pack(number, self._options.request_bytes, self._options.response_bytes) + self._padding
        )
        self.tally.sent += 1
        self.tally.tx_bytes += len(request)
        link = self._pick(number)
        if link is None:
            self.tally.lost += 1
            return
        link.pending[number] = due
        try:
            link.send(request)
        except BlockingIOError:
            if not self._udp:
                link.unsent += request
        except OSError:
            self._broken(link)

    def _pick(self, number: int) -> MouseConnection | None:
        share = self._options.new_share
        if share and (share >= 1 or self._choose.random() < share):
            return self._open(single=True)
        for step in range(len(self._fixed)):
            link = self._fixed[(number + step) % len(self._fixed)]
            if link is not None:
                return link
        return None

    def _open(self, *, single: bool) -> MouseConnection | None:
        try:
            link = MouseConnection(self._family, self._address, udp=self._udp, single=single)
        except OSError:
            return None
        self._links[link.fileno()] = link
        self.tally.connections += not self._udp
        return link

    def _open_fixed(self, slot: int) -> None:
        self._fixed[slot] = self._open(single=False)
        if self._fixed[slot] is None:
            heapq.heappush(self._retry, (time.monotonic() + RETRY_SECONDS, slot))

    def _step(self, timeout: float) -> None:
        """Handle what happens within ``timeout`` seconds; select, unlike epoll, waits to the microsecond."""
        if self._retry:
            timeout = min(timeout, self._retry[0][0] - time.monotonic())
        writers = [link for link in self._links.values() if link.unsent or not link.connected]
        readers: list[Any] = [self._stop.descriptor, *self._links.values()]
        ready, free, _ = select.select(readers, writers, [], max(0.0, timeout))
        now = time.monotonic()
        for link in free:
            try:
                link.writable()
            except BlockingIOError:
                pass
            except OSError:
                self._broken(link)
        for link in ready:
            if isinstance(link, MouseConnection) and link.fileno() >= 0:
                self._answered(link, now)
        while self._retry and self._retry[0][0] <= now:
            self._open_fixed(heapq.heappop(self._retry)[1])

    def _answered(self, link: MouseConnection, now: float) -> None:
        try:
            done = link.readable()
        except BlockingIOError:
            return
        except OSError:
            self._broken(link)
            return
        for number in done:
            due = link.pending.pop(number, None)
            if due is not None:
                self.tally.latency(now - due, counts=due >= self._counted_from)
                self.tally.rx_bytes += max(self._options.response_bytes, common.HEADER.size)
        if link.single and not link.pending:
            self._close(link)

    def _broken(self, link: MouseConnection) -> None:
        """Its unanswered requests are lost; a persistent connection is made again a little later."""
        if self._udp and not link.single:  # a refused datagram: the socket stays good
            return
        self._close(link)
        for slot, kept in enumerate(self._fixed):
            if kept is link:
                self._fixed[slot] = None
                heapq.heappush(self._retry, (time.monotonic() + RETRY_SECONDS, slot))

    def _close(self, link: MouseConnection) -> None:
        self._links.pop(link.fileno(), None)
        self.tally.lost += len(link.pending)
        link.pending.clear()
        if not self._udp:
            self.tally.closed(link.socket)
        link.socket.close()

    def _progress(self) -> None:
        tally = self.tally
        slices = {"recent": {str(index): n for index, n in tally.recent.items()}} if self._options.slices else {}
        common.emit(
            progress=tally.answered, sent=tally.sent, lost=tally.lost, recent_ms=tally.quantiles(recent=True),
            **slices, **common.clock(),
        )  # fmt: skip
        tally.recent = {}

    def result(self) -> dict[str, Any]:
        """The final line; latencies in milliseconds, the histogram in microsecond buckets."""
        tally = self.tally
        return {
            "target": f"{self._options.target[0]} {self._options.target[1]}",
            "protocol": self._options.protocol,
            "sent": tally.sent, "answered": tally.answered, "lost": tally.lost,
            "connections": tally.connections, "tx_bytes": tally.tx_bytes, "rx_bytes": tally.rx_bytes,
            "tcp": tally.infos,
            "latency_ms": tally.quantiles() | {"max": round(tally.slowest * 1000, 4)},
            "histogram": {str(index): count for index, count in sorted(tally.buckets.items())},
            "started": self.started, "ended": common.clock(),
        }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 when the server was never reached."""
    options = _arguments(argv)
    stop = common.StopRequest()
    common.run_promptly()
    mouse = MouseClient(options, stop)
    common.emit(waiting_for=common.name_of(options.target), **common.clock())
    reached = mouse.wait_for_server()
    if reached:
        common.emit(starting=True, **common.clock())
        mouse.run()
    common.emit(result="mouse", **mouse.result())
    return 0 if reached else 1


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mouse", description=__doc__)
    parser.add_argument("target", type=common.target, help="ADDRESS:PORT of mouse_server.py")
    parser.add_argument("--rate", type=common.positive, default=100.0, help="requests a second")
    parser.add_argument("--seconds", type=common.positive, help="how long (default: until SIGTERM)")
    parser.add_argument("--seed", type=int, help="Poisson arrivals from this seed (default: evenly spaced)")
    parser.add_argument("--request-bytes", type=int, default=200)
    parser.add_argument("--response-bytes", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=4, help="persistent connections")
    parser.add_argument(
        "--new-share", type=float, default=0.0, help="share (0..1) of requests by a new connection"
    )
    parser.add_argument("--new-connection", dest="new_share", action="store_const", const=1.0)
    parser.add_argument(
        "--slices", action="store_true", help="every progress line has the histogram of what was answered since"
    )
    parser.add_argument("--protocol", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--warmup", type=float, default=0.0, help="seconds whose latencies are not counted")
    parser.add_argument("--drain", type=common.positive, default=5.0, help="seconds to wait for last answers")
    parser.add_argument("--report", type=common.positive, default=5.0, help="seconds between progress lines")
    options = parser.parse_args(argv)
    smallest = common.HEADER.size
    largest = 60_000 if options.protocol == "udp" else common.MAX_MESSAGE
    for name in ("request_bytes", "response_bytes"):
        if not smallest <= getattr(options, name) <= largest:
            parser.error(f"--{name.replace('_', '-')} must be {smallest} to {largest}")
    if options.connections < 1 or not 0 <= options.new_share <= 1:
        parser.error("--connections must be at least 1, --new-share 0 to 1")
    if options.protocol == "udp":
        options.new_share = 0.0
    return options


if __name__ == "__main__":
    sys.exit(main())
