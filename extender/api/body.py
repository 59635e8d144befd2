# SPDX-License-Identifier: Apache-2.0
"""Reading the body of a request within bounds.

Enters: an ASGI scope and its messages. Leaves: the body's bytes. Guarantees: a body is refused (ArgsError) as soon
as it is known to be too long, to come too slowly, or to be one too many.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from extender.api.protocol import MAX_BODY, ArgsError, ArgsReason

BODY_SECONDS: Final = 5.0
"""Time for a body to arrive: ten times what kube-scheduler waits for the whole response."""
MAX_HELD: Final = 64 * 2**20
"""Bytes of unfinished bodies over all connections: those of 250 requests with 5,000 names."""


class ByteBudget:
    """Bytes of unfinished bodies, over all connections."""

    def __init__(self, size: int) -> None:
        self._size, self.held = size, 0

    def take(self, size: int) -> None:
        """Raises ArgsError when so many bytes are not left."""
        if self.held + size > self._size:
            raise ArgsError(
                ArgsReason.TOO_MANY, f"unfinished requests already hold {self.held} bytes; try again later"
            )
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size


class BodyReader:
    """Reads bodies; all of one application share its byte budget."""

    def __init__(self, *, limit: int = MAX_BODY, seconds: float = BODY_SECONDS, held: int = MAX_HELD) -> None:
        """``limit``: bytes of one body; ``seconds``: for it to arrive; ``held``: bytes of all unfinished ones."""
        self._limit, self._seconds, self._budget = limit, seconds, ByteBudget(held)

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises ArgsError for a body out of bounds, ClientDisconnect when the client has gone."""
        if (announced := _announced(scope)) > self._limit:
            raise ArgsError(
                ArgsReason.TOO_LARGE, f"Content-Length {announced} exceeds the limit of {self._limit} bytes"
            )
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    part, more = message.get("body", b""), message.get("more_body", False)
                    self._budget.take(len(part))
                    size += len(part)
                    if size > self._limit:
                        raise ArgsError(ArgsReason.TOO_LARGE, f"the body exceeds the limit of {self._limit} bytes")
                    parts.append(part)
        except TimeoutError:
            raise ArgsError(
                ArgsReason.TOO_SLOW, f"the body is incomplete after {self._seconds:g} s ({size} bytes came)"
            ) from None
        finally:
            self._budget.give_back(size)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _announced(scope: Scope) -> int:
    """Bytes that the body will have, as far as the client says."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return 0
