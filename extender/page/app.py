# SPDX-License-Identifier: Apache-2.0
"""The page's HTTP side: an ASGI application for the port of those who observe.

Enters: GET and HEAD requests below ``/page/``. Leaves: static files, JSON, and the stream. Guarantees: nothing
can be changed through it. Every response carries ``HEADERS``: a browser loads scripts and styles from here
alone, runs no inline script, and shows the page in no other site's frame. A request that another site's page
makes is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from extender.cluster.state import ClusterState
from extender.page.board import Board
from extender.page.decisions import Recorder
from extender.page.explaining import Explaining, TooManyError
from extender.page.stream import MAX_READERS, Readers, Stream
from extender.placement.shadow import Shadow

ROOT: Final = "/page/"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip
_PART: Final = 64 * 1024
"""Bytes of a response between which others have their turn."""
_MAX_NAME: Final = 253
_OWN_SITE: Final = ("same-origin", "none")
"""Of ``Sec-Fetch-Site``: the page itself, or somebody who typed the address."""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    kind: str
    tag: str


def read_files() -> dict[str, _File]:
    """The page's files by path below ``ROOT``, ``""`` for the page itself."""
    found: dict[str, _File] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            elif kind := _TYPES.get(entry.name[entry.name.rfind(".") :]):
                body = entry.read_bytes()
                found[prefix + entry.name] = _File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    walk(files("extender.page").joinpath("web"), "")
    found[""] = found["index.html"]
    return found


class Page:
    """See the module."""

    def __init__(
        self, state: ClusterState, recorder: Recorder, shadow: Shadow | None = None,
        explaining: Explaining | None = None,
    ) -> None:  # fmt: skip
        """``explaining``: the verdict on a pod; without it nobody gets one here."""
        self.readers, self._explaining = Readers(), explaining
        self._state, self._recorder, self._shadow = state, recorder, shadow
        self._board: Board | None = None
        self._boot, self._files = secrets.token_hex(6), read_files()

    @property
    def board(self) -> Board:
        """Made where the event loop runs."""
        if self._board is None:
            self._board = Board(self._state, self._recorder, self._shadow)
        return self._board

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The board is kept up to date meanwhile."""
        task = asyncio.create_task(self.board.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def leave(self) -> None:
        """End every stream, and begin no other: the process is about to end."""
        self.readers.leaving = True
        self.board.wake()

    def serves(self, path: str) -> bool:
        """Whether the path is the page's."""
        return path == "/" or path.startswith(ROOT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, b"this page can only be read\n", "text/plain", (b"allow", b"GET, HEAD"))
            return
        request, path = Request(scope), scope["path"]
        if path == "/":
            await _respond(send, 307, b"", "text/plain", (b"location", ROOT.encode()))
            return
        name = path.removeprefix(ROOT)
        if (file := self._files.get(name)) is not None:
            await _send_file(request, send, file)
        elif request.headers.get("sec-fetch-site", "none") not in _OWN_SITE:
            await _problem(send, 403, "other sites' pages may not read this")
        elif name == "api/stream":
            await self._stream(scope, receive, send)
        else:
            await self._api(name, request, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await _problem(send, 405, "a stream can only be read")
            return
        place = self.readers.take()
        if place is None:
            told = f"{MAX_READERS} readers follow this page already; it loads again from time to time instead"
            if self.readers.leaving:
                told = "this extender is about to end"
            await _problem(send, 503, told, (b"retry-after", b"15"))
            return
        try:
            headers = [(b"cache-control", b"no-store"), *HEADERS]
            await Stream(self.board, self.readers, self._boot, place).serve(scope, receive, send, headers)
        finally:
            self.readers.leave(place)

    async def _api(self, name: str, request: Request, send: Send) -> None:
        board = self.board
        board.look()
        if name == "api/nodes":
            await board.ready()
            version = f"{self._boot}-{board.version}"
            await _json(send, board.whole(), (b"x-cursor", version.encode()))
        elif name == "api/workloads":
            await _json(send, await board.workload_list())
        elif name == "api/decisions":
            told = board.decisions(-1)
            await _json(send, told[1] if told else b"{}")
        elif name == "api/gains":
            await _json(send, orjson.dumps(board.gains()))
        elif name == "api/node":
            wanted = request.query_params.get("name", "")
            found: dict[str, Any] | None = board.node(wanted) if len(wanted) <= _MAX_NAME else None
            if found is None:
                await _problem(send, 404, "no node of this name")
            else:
                await _json(send, orjson.dumps(found))
        elif name == "api/explain" and self._explaining is not None:
            await self._explain(self._explaining, request, send)
        else:
            await _problem(send, 404, f"nothing here; the page is at {ROOT}")

    async def _explain(self, explaining: Explaining, request: Request, send: Send) -> None:
        namespace, pod = (request.query_params.get(key, "") for key in ("namespace", "pod"))
        if not (0 < len(namespace) <= _MAX_NAME and 0 < len(pod) <= _MAX_NAME):
            await _problem(send, 400, "name the pod: ?namespace=NAMESPACE&pod=NAME")
            return
        try:
            told = await explaining.about(namespace, pod)
        except TooManyError as error:
            await _problem(send, 503, str(error), (b"retry-after", b"5"))
            return
        if told is None:
            await _problem(send, 404, "this extender knows no such pod; it may be gone")
        else:
            await _json(send, told)


async def _send_file(request: Request, send: Send, file: _File) -> None:
    tag = (b"etag", file.tag.encode())
    if request.headers.get("if-none-match") == file.tag:
        await _respond(send, 304, b"", file.kind, tag)
    else:
        await _respond(send, 200, file.body, file.kind, tag, cache=b"no-cache")


async def _json(send: Send, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await _respond(send, 200, body, "application/json", *headers)


async def _problem(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    await _respond(send, status, orjson.dumps({"Error": text}), "application/json", *headers)


async def _respond(
    send: Send, status: int, body: bytes, kind: str, *headers: tuple[bytes, bytes], cache: bytes = b"no-store"
) -> None:
    head = [
        (b"content-type", kind.encode()), (b"content-length", b"%d" % len(body)), (b"cache-control", cache),
        *headers, *HEADERS,
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": head})
    for start in range(0, len(body), _PART):
        part = body[start : start + _PART]
        await send({"type": "http.response.body", "body": part, "more_body": start + _PART < len(body)})
        await asyncio.sleep(0)
    if not body:
        await send({"type": "http.response.body", "body": b""})
