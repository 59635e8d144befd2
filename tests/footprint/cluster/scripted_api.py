# SPDX-License-Identifier: Apache-2.0
"""An API server on loopback that gives scripted responses, broken ones too, to lists and watches."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from kubernetes.client import ApiClient

from footprint.cluster.client import connect
from tests.kubeconfig import kubeconfig

Answer = tuple[int, Any]


class Script:
    """The server's responses in order: lists and watches each have their own; the last of each is repeated.

    A list is a status and a body; a watch a status and events, after which the stream ends, or stays open until
    the test is over (``HOLD``).
    """

    HOLD: Final[dict[str, Any]] = {}
    BREAK: Final[dict[str, Any]] = {"break": "the connection ends in the middle"}
    WAIT: Final[dict[str, Any]] = {"wait": "for go_on"}

    def __init__(self, lists: list[Answer], watches: list[Answer]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []
        self.over, self.go_on = threading.Event(), threading.Event()

    def take(self, query: str) -> Answer:
        self.asked.append(query)
        answers = self.watches if "watch=1" in query else self.lists
        return answers.pop(0) if len(answers) > 1 else answers[0]


def handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = script.take(self.path)
            self.send_response(status)
            if isinstance(body, list):
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.stream(body)
                return
            text = json.dumps(body).encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def stream(self, body: list[Any]) -> None:
            for line in body:
                if line is Script.BREAK:
                    self.close_connection = True
                    return
                if line is Script.WAIT:
                    script.go_on.wait(60)
                    continue
                if line is Script.HOLD:
                    script.over.wait(60)
                    self.close_connection = True
                    return
                text = json.dumps(line).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(text), text))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: Any) -> None: ...

    return Handler


def items(*things: dict[str, Any], version: str, more: str = "") -> dict[str, Any]:
    return {"items": list(things), "metadata": {"resourceVersion": version, "continue": more}}


@contextmanager
def serving(script: Script, folder: Path) -> Iterator[ApiClient]:
    """A client of a server that follows ``script``. The client's kubeconfig is written into ``folder``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(script))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    config = kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{server.server_port}")
    try:
        yield connect(str(config), user_agent="test")
    finally:
        script.over.set()
        server.shutdown()
        server.server_close()


def until(condition: Callable[[], bool]) -> bool:
    waiting = threading.Event()
    return any(condition() or waiting.wait(0.01) for _ in range(3000))
