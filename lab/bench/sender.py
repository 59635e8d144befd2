# SPDX-License-Identifier: Apache-2.0
"""Datagrams at a steady pace, each with the moment before it was sent, from a process of its own.

In the process that measures, sender and agent would wait for one another's interpreter. The clock is the
machine's monotonic one, the same in every process.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final

MTU: Final = 9_000
"""Of the links it sends over: few large datagrams leave an emulated processor time for what is measured."""
PAYLOAD: Final = 8_900
IP_BYTES: Final = PAYLOAD + 28
"""Of one datagram as conntrack counts it."""
_LOOK: Final = 2
"""Datagrams between two looks for the order to stop."""
_PATIENCE: Final = 30.0


class Sender:
    """One flow after the other from a socket that is bound already. Make it before any thread is started."""

    def __init__(self, source: socket.socket, pace: float) -> None:
        """``pace`` is payload bytes per second."""
        self._orders, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_obey, args=(theirs, source, pace), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, target: tuple[str, int]) -> None:
        """Send to ``target`` from now on."""
        self._orders.send(target)

    def end(self) -> list[float]:
        """Stop sending; monotonic seconds before each datagram. Raises TimeoutError."""
        self._orders.send(None)
        if not self._orders.poll(_PATIENCE):
            raise TimeoutError("the sender does not answer")
        moments: list[float] = self._orders.recv()
        return moments

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._orders.close()
        self._process.terminate()
        self._process.join()


def _obey(orders: Connection, source: socket.socket, pace: float) -> None:
    while True:
        try:
            target = orders.recv()
        except EOFError:
            return
        if target is not None:
            orders.send(_send(orders, source, target, pace))


def _send(orders: Connection, source: socket.socket, target: tuple[str, int], pace: float) -> list[float]:
    data, moments, began = b"x" * PAYLOAD, list[float](), time.monotonic()
    while len(moments) % _LOOK or not orders.poll():
        moments.append(time.monotonic())
        source.sendto(data, target)
        ahead = began + len(moments) * PAYLOAD / pace - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    orders.recv()
    return moments


def crossed(moments: list[float], needed: float) -> float:
    """When the datagram was sent with which ``needed`` bytes were reached. Raises IndexError: they never were."""
    return moments[-(-int(needed) // IP_BYTES) - 1]
