# SPDX-License-Identifier: Apache-2.0
"""A synchronous client that calls an application in process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI


class Client:
    """Each request runs in an event loop of its own; the application's lifespan is not entered."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://extender") as client:
            return await client.request(method, path, **arguments)

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._request("GET", path))

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return asyncio.run(self._request("POST", path, **arguments))
