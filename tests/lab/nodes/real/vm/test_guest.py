# SPDX-License-Identifier: Apache-2.0
"""The client of a guest's agent, held against a server that speaks as QEMU's agent does."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.nodes.real.vm.guest import Guest


class Agent(threading.Thread):
    """Runs the commands on this machine; says first what an earlier client was to hear."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.connections = 0
        self.hang_up = False

    def run(self) -> None:
        while True:
            connection, _ = self._server.accept()
            self.connections += 1
            with connection, connection.makefile("rwb", buffering=0) as stream:
                stream.write(b'{"return": {"pid": 1}}\n')
                for line in stream:
                    if self.hang_up:
                        break
                    if b"\xff" in line:
                        stream.write(b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n')
                    request = json.loads(line.rpartition(b"\xff")[2])
                    before = b"\xff" if request["execute"] == "guest-sync-delimited" else b""
                    stream.write(before + json.dumps(self._respond(request)).encode() + b"\n")

    def _respond(self, request: dict[str, Any]) -> dict[str, Any]:
        given = request["arguments"]
        match request["execute"]:
            case "guest-sync-delimited":
                return {"return": given["id"]}
            case "guest-exec":
                try:
                    started = subprocess.Popen(
                        [given["path"], *given["arg"]], stdout=subprocess.PIPE, stderr=subprocess.PIPE
                    )
                except OSError as error:
                    return {"error": {"class": "GenericError", "desc": str(error)}}
                self._processes[started.pid] = started
                return {"return": {"pid": started.pid}}
        process = self._processes[given["pid"]]
        if process.poll() is None:
            return {"return": {"exited": False}}
        out, err = (base64.b64encode(part).decode() for part in process.communicate())
        status = process.returncode
        ended = {"exitcode": status} if status >= 0 else {"signal": -status}
        return {"return": {"exited": True, **ended, "out-data": out, "err-data": err}}


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    made = Agent(tmp_path / "agent")
    made.start()
    return made


@pytest.fixture
def guest(agent: Agent, tmp_path: Path) -> Iterator[Guest]:
    assert agent
    made = Guest(tmp_path / "agent")
    yield made
    made.close()


def test_a_commands_status_and_output_come_back(agent: Agent, guest: Guest) -> None:
    done = guest.run(["sh", "-c", "echo out; echo err >&2; exit 3"], 60)
    assert (done.status, done.out, done.err) == (3, "out\n", "err\n")
    assert guest.run(["true"], 60).status == 0
    assert agent.connections == 1


def test_a_command_that_does_not_end_is_killed_and_said_so(guest: Guest) -> None:
    with pytest.raises(LabError, match=r"sleep has not ended after 0\.2 s"):
        guest.run(["sleep", "100"], 0.2)


def test_a_machine_that_goes_is_an_error_and_one_that_comes_back_is_not(agent: Agent, guest: Guest) -> None:
    guest.run(["true"], 60)
    agent.hang_up = True
    with pytest.raises(LabError, match="does not respond"):
        guest.run(["true"], 60)
    agent.hang_up = False
    assert guest.run(["echo", "again"], 60).out == "again\n"
    assert agent.connections == 2


def test_without_a_machine_the_error_names_the_socket(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=str(tmp_path)):
        Guest(tmp_path / "agent").run(["true"], 1)
