# SPDX-License-Identifier: Apache-2.0
"""Server-sent events to one reader.

Enters: a GET request with the reader's cursors. Leaves: events until the reader goes, or ``STREAM_SECONDS``
passed: then the browser connects again and goes on where it was. Guarantees: at most ``MAX_READERS`` at once. A
reader that does not read is waited for without work, and then gets one event for all it missed; after the
server's ``unread_seconds`` it is cut and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Final

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from extender.page.board import Board

MAX_READERS: Final = 20
STREAM_SECONDS: Final = 50.0
"""Less than the server gives a response (``Limits.request_seconds``)."""
HEARTBEAT_SECONDS: Final = 10.0
APART_SECONDS: Final = 0.015
"""Between two readers of a frame: written at once to all, a frame would hold up placement."""
CHUNK: Final = 32 * 1024
"""Bytes written before others have their turn."""
_CURSOR_PARTS: Final = 3
_MAX_DIGITS: Final = 15


class Readers:
    """Who reads the stream now. ``refused``: by reason."""

    def __init__(self) -> None:
        self._places: set[int] = set()
        self.refused: Counter[str] = Counter()
        self.leaving = False
        """The process is about to end."""

    def __len__(self) -> int:
        return len(self._places)

    def take(self) -> int | None:
        """The number of a free place; None: there is none."""
        if self.leaving:
            return None
        free = next((place for place in range(MAX_READERS) if place not in self._places), None)
        if free is None:
            self.refused["too-many"] += 1
        else:
            self._places.add(free)
        return free

    def leave(self, place: int) -> None:
        self._places.discard(place)


class Cursor:
    """How far a reader is: ``boot-version-change``. One of another process, or none, begins anew."""

    def __init__(self, text: str, boot: str) -> None:
        parts = text.split("-")
        numbers = parts[1:]
        valid = (
            len(parts) == _CURSOR_PARTS and parts[0] == boot
            and all(part.isascii() and part.isdecimal() and len(part) <= _MAX_DIGITS for part in numbers)
        )  # fmt: skip
        self.boot = boot
        self.version, self.change = (int(numbers[0]), int(numbers[1])) if valid else (0, 0)

    def __str__(self) -> str:
        return f"{self.boot}-{self.version}-{self.change}"


class Stream:
    """One reader's connection."""

    def __init__(self, board: Board, readers: Readers, boot: str, place: int) -> None:
        self._board, self._readers, self._boot, self._place = board, readers, boot, place
        self._writing = False

    async def serve(self, scope: Scope, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        """Until the reader is gone."""
        request = Request(scope)
        text = request.headers.get("last-event-id") or request.query_params.get("cursor", "")
        cursor = Cursor(text, self._boot)
        head = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"), *headers]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        writing = asyncio.create_task(self._write(send, cursor))
        gone = asyncio.create_task(_gone(receive))
        self._board.readers += 1
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done() and self._writing:
                self._readers.refused["slow"] += 1
        finally:
            self._board.readers -= 1
            for task in (writing, gone):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task

    async def _write(self, send: Send, cursor: Cursor) -> None:
        loop = asyncio.get_running_loop()
        end, spoke = loop.time() + STREAM_SECONDS, loop.time()
        await self._send(send, b"retry: 2000\n\n")
        while loop.time() < end and not self._readers.leaving:
            events = self._news(cursor)
            if not events and loop.time() >= spoke + HEARTBEAT_SECONDS:
                events = [b": nothing new\n\n"]
            for event in events:
                await self._send(send, event)
                spoke = loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._board.next(), HEARTBEAT_SECONDS)
            await asyncio.sleep(self._place * APART_SECONDS)
        await send({"type": "http.response.body", "body": b""})

    def _news(self, cursor: Cursor) -> list[bytes]:
        events = []
        if (nodes := self._board.since(cursor.version)) is not None:
            cursor.version, body = nodes
            events.append(_event("nodes" if body else "reload", body or b"{}", cursor))
        if (decisions := self._board.decisions(cursor.change)) is not None:
            cursor.change, body = decisions
            events.append(_event("decisions", body, cursor))
        return events

    async def _send(self, send: Send, event: bytes) -> None:
        self._writing = True
        for start in range(0, len(event), CHUNK):
            part = event[start : start + CHUNK]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        self._writing = False


def _event(name: str, body: bytes, cursor: Cursor) -> bytes:
    """JSON has no line ends, so it is one ``data`` line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(cursor).encode(), name.encode(), body)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
