# SPDX-License-Identifier: Apache-2.0
"""A window from this machine into a lab: the live page of its extender, at an address that stays for both runs.

Enters: a port here, and a port on the loopback of the control plane's namespace. Leaves: connections from one
to the other. A thread connects from the network namespace in which it was started, and ``open`` is called in
the lab's. So the listening socket is here, and the page is there. Guarantees: only this machine can connect,
and at most ``MAX_CONNECTIONS`` at once do.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_CONNECTIONS: Final = 64
_CHUNK: Final = 64 * 1024


class Window:
    """Make it outside the lab."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=MAX_CONNECTIONS)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)

    @property
    def address(self) -> str:
        """Of the page, for a browser."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/page/"

    def close(self) -> None:
        self._listener.close()

    @contextmanager
    def open(self, port: int) -> Iterator[None]:
        """Let connections through to ``port`` of loopback, as the calling thread sees it."""
        over = threading.Event()
        accepting = threading.Thread(target=self._accept, args=(port, over), daemon=True)
        self._listener.settimeout(0.2)
        accepting.start()
        try:
            yield
        finally:
            over.set()
            accepting.join()

    def _accept(self, port: int, over: threading.Event) -> None:
        while not over.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client, port), daemon=True).start()

    def _serve(self, client: socket.socket, port: int) -> None:
        try:
            with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
                client.settimeout(None)
                back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join()
        finally:
            self._places.release()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Until either end is closed."""
    with contextlib.suppress(OSError):
        while part := source.recv(_CHUNK):
            sink.sendall(part)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
