# SPDX-License-Identifier: Apache-2.0
"""A small API server on loopback for the plugin: JSON by path, and who asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u{namespace}}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: secret}}}}]
"""


class Asked(NamedTuple):
    """One request."""

    path: str
    token: str
    """The Authorization header."""


@contextmanager
def serving(
    collections: Mapping[str, list[dict[str, Any]] | int], silent: threading.Event | None = None
) -> Iterator[tuple[int, list[Asked]]]:
    """A port that answers with the items of each path, or with the status given instead; 404 for other paths.

    With ``silent``, a request gets no response before the event.
    """
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(Asked(path, str(self.headers.get("Authorization"))))
            if silent is not None:
                silent.wait(60)
            found = collections.get(path, 404)
            status = found if isinstance(found, int) else 200
            body = json.dumps({"message": "refused"} if isinstance(found, int) else {"items": found}).encode()
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
            if silent is not None:
                silent.set()
            server.shutdown()
            thread.join()


def kubeconfig(path: Path, port: int, namespace: str = "") -> Path:
    """A kubeconfig for ``port``, whose context may name a namespace."""
    path.write_text(KUBECONFIG.format(port=port, namespace=f", namespace: {namespace}" if namespace else ""))
    return path


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
