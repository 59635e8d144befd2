# SPDX-License-Identifier: Apache-2.0
"""A process that sends datagrams at a steady pace, and notes the time before each.

A sender inside the measuring process would compete with the agent for the interpreter. Times are of the monotonic
clock, which all processes share.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final

MTU: Final = 9_000
"""Of the links. Few large datagrams leave an emulated processor time for what is measured."""
PAYLOAD: Final = 8_900
IP_BYTES: Final = PAYLOAD + 28
"""Size of one datagram as conntrack counts it."""
_CHECK_EVERY: Final = 2
"""Datagrams between two checks for the order to stop."""
_PATIENCE: Final = 30.0


class Sender:
    """Sends one flow after the other from a bound socket. Forks: create it before any thread starts."""

    def __init__(self, source: socket.socket, pace: float) -> None:
        """``pace`` is payload bytes per second."""
        self._orders, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve_orders, args=(theirs, source, pace), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, target: tuple[str, int]) -> None:
        """Begin sending to ``target``."""
        self._orders.send(target)

    def end(self) -> list[float]:
        """Stop sending. Returns the monotonic second before each datagram. Raises TimeoutError."""
        self._orders.send(None)
        if not self._orders.poll(_PATIENCE):
            raise TimeoutError(f"the sender sent no report within {_PATIENCE:g} s")
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


def _serve_orders(orders: Connection, source: socket.socket, pace: float) -> None:
    while True:
        try:
            target = orders.recv()
        except EOFError:
            return
        if target is not None:
            orders.send(_send(orders, source, target, pace))


def _send(orders: Connection, source: socket.socket, target: tuple[str, int], pace: float) -> list[float]:
    data, moments, began = b"x" * PAYLOAD, list[float](), time.monotonic()
    while len(moments) % _CHECK_EVERY or not orders.poll():
        moments.append(time.monotonic())
        source.sendto(data, target)
        ahead = began + len(moments) * PAYLOAD / pace - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    orders.recv()
    return moments


def crossed(moments: list[float], needed: float) -> float:
    """When the datagram was sent that reached ``needed`` bytes. Raises IndexError when none did."""
    return moments[-(-int(needed) // IP_BYTES) - 1]
