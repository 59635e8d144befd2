# SPDX-License-Identifier: Apache-2.0
"""The metrics port: health, metrics, shadow counts and the live page over plain HTTP, for those who observe.

An extender may require client certificates, and a kubelet has none. So probes need this port. Enters: the
application, and the live page where there is one. Leaves: an application that lets through GET requests for
these pages only. Guarantees: this port answers nothing that kube-scheduler asks, and decides no placement.
"""

from __future__ import annotations

from typing import Final, Protocol

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PAGES: Final = ("/healthz", "/readyz", "/metrics", "/shadow")
_ELSEWHERE: Final = f"this port serves {', '.join(PAGES)} (GET); everything else is on the extender's --port\n"


class LivePage(Protocol):
    """An application of its own, which can only be read."""

    def serves(self, path: str) -> bool:
        """Whether the path is the page's."""
        ...

    def leave(self) -> None:
        """End every stream: the process is about to end."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def only_pages(app: ASGIApp, page: LivePage | None = None) -> ASGIApp:
    """``app``, of which only ``PAGES`` can be read, and ``page``."""

    async def pages_only(scope: Scope, receive: Receive, send: Send) -> None:
        if page is not None and scope["type"] == "http" and page.serves(scope["path"]):
            await page(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in PAGES:
            await app(scope, receive, send)
        else:
            await PlainTextResponse(_ELSEWHERE, 404)(scope, receive, send)

    return pages_only
