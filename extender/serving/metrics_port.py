# SPDX-License-Identifier: Apache-2.0
"""The metrics port: health, metrics and shadow counts over plain HTTP, for kubelets and Prometheus.

An extender may require client certificates, and a kubelet has none. So probes need this port. Enters: the
application. Leaves: another one that lets through GET requests for these pages only. Guarantees: this port answers
no request about a pod, and decides no placement.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PAGES: Final = ("/healthz", "/readyz", "/metrics", "/shadow")
_ELSEWHERE: Final = f"this port serves {', '.join(PAGES)} (GET); everything else is on the extender's --port\n"


def only_pages(app: ASGIApp) -> ASGIApp:
    """``app``, of which only ``PAGES`` can be read."""

    async def pages_only(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in PAGES:
            await app(scope, receive, send)
        else:
            await PlainTextResponse(_ELSEWHERE, 404)(scope, receive, send)

    return pages_only
