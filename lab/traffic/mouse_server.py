# SPDX-License-Identifier: Apache-2.0
"""Responds to mice over TCP and UDP on one port, over IPv4 and IPv6, in one thread, and does no other work.

Prints ``listening``, ``progress`` now and then, and ``result`` when stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by path: the checkout is not importable yet
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.traffic import common

RECEIVE_BYTES = 2**18


class MalformedError(ValueError):
    """What came is not a mouse's request."""


def answers(received: bytearray) -> bytes:
    """Answers to all whole requests at the front of ``received``, which are removed. Raises MalformedError."""
    out = []
    at = 0
    while len(received) - at >= common.HEADER.size:
        number, length, wanted = common.HEADER.unpack_from(received, at)
        if not common.HEADER.size <= length <= common.MAX_MESSAGE or wanted > common.MAX_MESSAGE:
            raise MalformedError(
                f"a request of {length} bytes for {wanted} in response; at most {common.MAX_MESSAGE} each"
            )
        if len(received) - at < length:
            break
        at += length
        size = max(wanted, common.HEADER.size)
        out.append(common.HEADER.pack(number, size, 0) + bytes(size - common.HEADER.size))
    del received[:at]
    return b"".join(out)


class AcceptedConnection:
    """A TCP connection: what came in, what has yet to go out."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = bytearray()
        self.unsent = b""


class MouseServer:
    """One epoll loop over everything."""

    def __init__(self, port: int, wake: int) -> None:
        """``wake``: a descriptor that ends a step when it is readable."""
        self._tcp = common.listen(port)
        self._udp = common.listen(port, socket.SOCK_DGRAM)
        self._tcp.setblocking(False)
        self._udp.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(wake, select.EPOLLIN)
        self._poll.register(self._tcp, select.EPOLLIN)
        self._poll.register(self._udp, select.EPOLLIN)
        self._clients: dict[int, AcceptedConnection] = {}
        self.counts = {"connections": 0, "malformed": 0, "rx_bytes": 0, "tx_bytes": 0, "datagrams": 0}

    def step(self, timeout: float) -> None:
        """Handle what is ready within ``timeout`` seconds."""
        for descriptor, events in self._poll.poll(timeout):
            if descriptor == self._tcp.fileno():
                self._accept()
            elif descriptor == self._udp.fileno():
                self._datagrams()
            elif client := self._clients.get(descriptor):
                try:
                    self._serve(client, events)
                except (OSError, MalformedError) as error:
                    self.counts["malformed"] += isinstance(error, MalformedError)
                    self._drop(client)

    def close(self) -> None:
        """Close every socket."""
        for client in list(self._clients.values()):
            self._drop(client)
        for end in (self._tcp, self._udp, self._poll):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[connection.fileno()] = AcceptedConnection(connection)
            self._poll.register(connection, select.EPOLLIN)
            self.counts["connections"] += 1

    def _serve(self, client: AcceptedConnection, events: int) -> None:
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            data = client.socket.recv(RECEIVE_BYTES)
            if not data:
                self._drop(client)
                return
            self.counts["rx_bytes"] += len(data)
            client.received += data
            client.unsent += answers(client.received)
        if client.unsent:
            try:
                sent = client.socket.send(client.unsent)
            except BlockingIOError:
                sent = 0
            self.counts["tx_bytes"] += sent
            client.unsent = client.unsent[sent:]
        wanted = select.EPOLLIN | (select.EPOLLOUT if client.unsent else 0)
        if client.unsent or events & select.EPOLLOUT:
            self._poll.modify(client.socket, wanted)

    def _datagrams(self) -> None:
        while True:
            try:
                data, address = self._udp.recvfrom(65536)
                answer = answers(bytearray(data))
                self._udp.sendto(answer, address)
            except BlockingIOError:
                return
            except (OSError, MalformedError):
                self.counts["malformed"] += 1
                continue
            self.counts["datagrams"] += 1
            self.counts["rx_bytes"] += len(data)
            self.counts["tx_bytes"] += len(answer)

    def _drop(self, client: AcceptedConnection) -> None:
        self._clients.pop(client.socket.fileno(), None)
        client.socket.close()  # which takes it out of the poll too


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Exit status 0, or 2 when the port cannot be used."""
    parser = argparse.ArgumentParser(prog="mouse_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--report", type=common.positive, default=10.0, help="seconds between progress lines")
    options = parser.parse_args(argv)
    stop = common.StopRequest()
    common.run_promptly()
    try:
        server = MouseServer(options.port, stop.descriptor)
    except OSError as error:
        print(f"error: port {options.port}: {error.strerror}; choose another with --port", file=sys.stderr)
        return 2
    common.emit(listening=options.port, **common.clock())
    due = common.clock()["monotonic"] + options.report
    while not stop.is_set():
        server.step(max(0.0, due - common.clock()["monotonic"]))
        if common.clock()["monotonic"] >= due:
            common.emit(progress=server.counts, **common.clock())
            due += options.report
    common.emit(result="mouse_server", **server.counts, ended=common.clock())
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
