# SPDX-License-Identifier: Apache-2.0
"""Commands inside a guest, by QEMU's guest agent behind a socket: they work when the guest's network does not.

Enters: an argument vector. Leaves: its status and output. Guarantees: one request at a time; a response of an
earlier request that nobody waited for is not taken for this one's. Protocol: QEMU's ``qga/qapi-schema.json``.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError

_POLL_SECONDS: Final = 0.1
_RESPONSE_SECONDS: Final = 60.0
"""An emulated processor has other work too."""
_LINE_BYTES: Final = 64 * 2**20
TIMED_OUT: Final = 124
"""Status of ``timeout`` (coreutils)."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


class Guest:
    """A guest's agent. The socket is connected when it is first needed, and again after an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connected: socket.socket | None = None
        self._rest = b""

    def run(self, argv: Sequence[str], timeout: float) -> Done:
        """Run a command to its end; after ``timeout`` seconds it is killed. Raises LabError, also for that."""
        with self._lock:
            try:
                return self._run(argv, timeout)
            except (OSError, ValueError, KeyError) as error:
                self._close()
                raise LabError(f"the guest's agent behind {self._path} does not respond: {error}") from error

    def close(self) -> None:
        """Let go of the socket."""
        with self._lock:
            self._close()

    def _run(self, argv: Sequence[str], timeout: float) -> Done:
        bounded = ["--signal=KILL", f"{timeout:g}", *argv]
        started = self._call("guest-exec", path="timeout", arg=bounded, **{"capture-output": True})
        while not (state := self._call("guest-exec-status", pid=started["pid"]))["exited"]:
            time.sleep(_POLL_SECONDS)
        status = int(state.get("exitcode", 128 + int(state.get("signal", 0))))
        if status in (TIMED_OUT, 128 + 9):
            raise LabError(f"{argv[0]} has not ended after {timeout:g} s, or was killed, in the guest")
        return Done(status, _text(state.get("out-data")), _text(state.get("err-data")))

    def _call(self, command: str, **arguments: Any) -> Any:
        if self._connected is None:
            self._connect()
        return self._ask(command, arguments)

    def _connect(self) -> None:
        self._connected = socket.socket(socket.AF_UNIX)
        self._connected.settimeout(_RESPONSE_SECONDS)
        self._connected.connect(str(self._path))
        self._rest = b""
        number = secrets.randbelow(2**31)
        # 0xFF ends whatever half a request an earlier client has left, at the price of an error; the response that
        # begins with one is this request's, and those before it are nobody's.
        self._send("guest-sync-delimited", {"id": number}, b"\xff")
        while b"\xff" not in (line := self._line()) or _parsed(line).get("return") != number:
            pass

    def _send(self, command: str, arguments: dict[str, Any], before: bytes = b"") -> None:
        if self._connected is None:
            raise OSError("not connected")
        self._connected.sendall(before + json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def _ask(self, command: str, arguments: dict[str, Any]) -> Any:
        self._send(command, arguments)
        response = _parsed(self._line())
        if "error" in response:
            raise ValueError(f"{command}: {response['error'].get('desc')}")
        return response["return"]

    def _line(self) -> bytes:
        """The next line; a bounded number of bytes."""
        if self._connected is None:
            raise OSError("not connected")
        while b"\n" not in self._rest:
            if len(self._rest) > _LINE_BYTES:
                raise ValueError("an endless line")
            chunk = self._connected.recv(65536)
            if not chunk:
                raise OSError("the machine is gone")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _close(self) -> None:
        if self._connected is not None:
            with suppress(OSError):
                self._connected.close()
        self._connected = None


def _parsed(line: bytes) -> dict[str, Any]:
    response: dict[str, Any] = json.loads(line.rpartition(b"\xff")[2])
    return response


def _text(encoded: str | None) -> str:
    return base64.b64decode(encoded or "").decode(errors="replace")
