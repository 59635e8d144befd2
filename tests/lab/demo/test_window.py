# SPDX-License-Identifier: Apache-2.0
"""A window into a lab, with real sockets."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from lab.demo.window import Window


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"the page" * 100_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def behind() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_one_address_shows_what_is_behind_it_in_one_run_after_the_other(behind: int) -> None:
    window = Window()
    try:
        for _ in range(2):
            with window.open(behind):
                assert httpx.get(window.address, timeout=10).content == b"the page" * 100_000
    finally:
        window.close()


def test_where_nothing_is_behind_it_a_connection_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    window = Window()
    try:
        with window.open(port), pytest.raises(httpx.TransportError):
            httpx.get(window.address, timeout=10)
    finally:
        window.close()


def test_only_this_machine_can_connect() -> None:
    window = Window()
    try:
        assert window.address.startswith("http://127.0.0.1:")
        assert window.address.endswith("/page/")
    finally:
        window.close()
