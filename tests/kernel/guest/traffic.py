# SPDX-License-Identifier: Apache-2.0
"""Traffic whose every byte is known: connections and datagrams between two namespaces."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.sources.cgroup import root

_SECONDS: Final = 20.0
"""Longest wait for the other side: an emulated processor shared with others is slow."""
_CHUNK: Final = 2**16


def packed(address: str) -> bytes:
    """The address as Locality keeps it."""
    return socket.inet_pton(family(address), address)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def speaks_sctp() -> bool:
    """Whether this kernel has SCTP (loading its module if need be)."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def socket_in(namespace: str, address: str, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of ``address``'s family; made inside ``namespace``, it stays there, whoever uses it."""
    with netns.entered(namespace):
        made = socket.socket(family(address), kind, protocol)
    made.settimeout(_SECONDS)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


@contextmanager
def member_of(group: Path | None) -> Iterator[None]:
    """This process is in a cgroup of version 2: a socket stays in the one in which it was made."""
    if group is None:
        yield
        return
    before = root.find(None) / Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip().lstrip("/")
    try:
        (group / "cgroup.procs").write_text("0")
        yield
    finally:
        (before / "cgroup.procs").write_text("0")


class Connection:
    """An open connection (TCP or SCTP); ``send`` and ``answer`` return once all bytes arrived."""

    def __init__(
        self,
        client: str,
        server: str,
        target: str,
        *,
        listen: str,
        port: int,
        listen_port: int = 0,
        protocol: int = socket.IPPROTO_TCP,
        source_port: int = 0,
        group: Path | None = None,
    ) -> None:
        """From namespace ``client`` to ``target``:``port``, which reaches ``listen`` inside ``server``. ``group``:
        the cgroup of the client's socket (None: this process's)."""
        with socket_in(server, listen, socket.SOCK_STREAM, protocol) as listener:
            listener.bind((listen, listen_port or port))
            listener.listen()
            with member_of(group):
                self.client = socket_in(client, target, socket.SOCK_STREAM, protocol)
            try:
                if source_port:
                    self.client.bind(("", source_port))
                self.client.connect((target, port))
                self.server = listener.accept()[0]
            except BaseException:
                self.client.close()
                raise
            self.server.settimeout(_SECONDS)

    def send(self, size: int) -> None:
        _move(self.client, self.server, size)

    def answer(self, size: int) -> None:
        _move(self.server, self.client, size)

    def reset(self) -> None:
        """Close without a farewell: nothing of this connection is on its way afterwards."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def finish(self) -> None:
        """End in order: the caller closes when it has seen the other side's end as well, so both are whole sockets
        until the last packet. Of a caller that closes at once, and is answered before the other side ends, no
        socket sees the last two packets."""
        self.client.shutdown(socket.SHUT_WR)
        assert not self.server.recv(1), "what was sent has been read"
        self.server.close()
        assert not self.client.recv(1), "what was answered has been read"
        self.client.close()

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stream:
    """A connection that carries ``rate`` bytes/s until it is stopped."""

    def __init__(self, connection: Connection, rate: float) -> None:
        self._connection, self._rate = connection, rate
        self._stop = threading.Event()
        self.received = 0
        """Bytes that have arrived so far."""
        self._threads = [threading.Thread(target=self._feed), threading.Thread(target=self._drain)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._connection.close()

    def stop(self) -> None:
        """No byte is sent after this returns; the connection stays open."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _feed(self) -> None:
        begun, sent = time.monotonic(), 0
        while not self._stop.is_set():
            self._connection.client.sendall(b"x" * _CHUNK)
            sent += _CHUNK
            self._stop.wait(max(begun + sent / self._rate - time.monotonic(), 0))
        self._connection.client.shutdown(socket.SHUT_WR)

    def _drain(self) -> None:
        while arrived := self._connection.server.recv(2**20):
            self.received += len(arrived)


@contextmanager
def again_and_again(work: Callable[[], object], *, every: float) -> Iterator[None]:
    """``work`` in a thread, ``every`` so many seconds, until the end."""
    stopped = threading.Event()

    def go_on() -> None:
        while not stopped.wait(every):
            work()

    worker = threading.Thread(target=go_on)
    worker.start()
    try:
        yield
    finally:
        stopped.set()
        worker.join()


def exchange(
    client: str, server: str, target: str, *, listen: str, port: int, listen_port: int = 0, sizes: Iterable[int]
) -> None:
    """Datagrams of ``sizes`` over one pair of ports, each answered with one byte."""
    with (
        socket_in(server, listen, socket.SOCK_DGRAM) as echo,
        socket_in(client, target, socket.SOCK_DGRAM) as caller,
    ):
        echo.bind((listen, listen_port or port))
        for size in sizes:
            caller.sendto(b"x" * size, (target, port))
            _, peer = echo.recvfrom(2**16)
            echo.sendto(b"y", peer)
            caller.recv(16)


def scatter(client: str, target: str, *, ports: Iterable[int], sizes: Iterable[int]) -> None:
    """One datagram to each port, of the size of the same rank: as many flows, none answered."""
    with socket_in(client, target, socket.SOCK_DGRAM) as caller:
        for port, size in zip(ports, sizes, strict=True):
            caller.sendto(b"x" * size, (target, port))


def _move(sender: socket.socket, receiver: socket.socket, size: int) -> None:
    worker = threading.Thread(target=_send_all, args=(sender, size))
    worker.start()
    left = size
    while left:
        got = len(receiver.recv(min(left, 2**20)))
        assert got, "the connection ended early"
        left -= got
    worker.join()


def _send_all(sender: socket.socket, size: int) -> None:
    while size:
        size -= sender.send(b"x" * min(size, _CHUNK))
