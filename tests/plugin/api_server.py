# SPDX-License-Identifier: Apache-2.0
"""A small API server on loopback for the plugin: JSON by path, and the requests that it got."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tests.kubeconfig import kubeconfig as written


class Asked(NamedTuple):
    """One request."""

    path: str
    token: str
    """The Authorization header."""


@contextmanager
def answering(respond: Callable[[str], tuple[int, bytes]]) -> Iterator[tuple[int, list[Asked]]]:
    """A port that gives ``respond``'s status and body for each path, and the requests so far."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(Asked(path, str(self.headers.get("Authorization"))))
            status, body = respond(path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(
    collections: Mapping[str, list[dict[str, Any]] | int], silent: threading.Event | None = None
) -> Iterator[tuple[int, list[Asked]]]:
    """A port that answers with the items of each path, or with the status given instead; 404 for other paths.

    With ``silent``, a request gets no response before the event.
    """

    def respond(path: str) -> tuple[int, bytes]:
        if silent is not None:
            silent.wait(60)
        found = collections.get(path, 404)
        if isinstance(found, int):
            return found, json.dumps({"message": "refused"}).encode()
        return 200, json.dumps({"items": found}).encode()

    with answering(respond) as running:
        try:
            yield running
        finally:
            if silent is not None:
                silent.set()


def kubeconfig(path: Path, port: int, namespace: str = "", name: str = "c") -> Path:
    """A kubeconfig for ``port``, whose context may name a namespace."""
    return written(path, f"http://127.0.0.1:{port}", user={"token": "secret"}, namespace=namespace, name=name)


def by_path(objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]] | int]:
    """What an API server would list of ``objects``: nodes, pods and Leases, without their kinds."""
    paths = {
        "Node": "/api/v1/nodes", "Pod": "/api/v1/pods",
        "Lease": "/apis/coordination.k8s.io/v1/namespaces/traffic-footprint/leases",
    }  # fmt: skip
    return {
        path: [{k: v for k, v in o.items() if k != "kind"} for o in objects if o["kind"] == kind]
        for kind, path in paths.items()
    }
