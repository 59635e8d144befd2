# SPDX-License-Identifier: Apache-2.0
"""tests.kernel.guest.agent as a process on a node: asked for readings, killed, or ended in order.

An agent is a fork of this process, without any of its descriptors: an emulated processor takes seconds to import
the agent's modules. One whose powers are taken starts from its program file.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, NoReturn, Protocol

from lab.network import netns
from tests.kernel.guest.agent import main
from tests.kernel.guest.measuring import PATIENCE
from tests.kernel.guest.network import Network

_FILE: Final = (sys.executable, "-m", "tests.kernel.guest.agent")


class Process(Protocol):
    """What an agent needs of a process."""

    def kill(self) -> None: ...
    def wait(self) -> int: ...


class Forked:
    """A child that was forked."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None

    def kill(self) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status


class Agent:
    """Made by ``agent``."""

    def __init__(self, process: Process, asking: IO[str], answers: IO[str]) -> None:
        self._process, self._asking, self._answers = process, asking, answers

    def read(self) -> dict[str, Any]:
        """The next answer; the first one comes once the source is open."""
        self._asking.write("\n")
        self._asking.flush()
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer

    def until_elephant(self) -> dict[str, Any]:
        """The first answer with an elephant; the last one when none comes."""
        reading = self.read()
        deadline = time.monotonic() + PATIENCE
        while not reading["elephants"] and time.monotonic() < deadline:
            time.sleep(0.2)
            reading = self.read()
        return reading

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        self._process.kill()
        self.end()

    def end(self) -> int:
        """End the input, and wait; the exit status."""
        with suppress(BrokenPipeError):
            self._asking.close()
        status = self._process.wait()
        self._answers.close()
        return status


@contextmanager
def agent(
    net: Network,
    source: str,
    *options: str,
    privileges: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Agent]:
    """An agent on the node, killed afterwards; ``privileges`` is the command that takes some of its powers."""
    # By the namespace alone, as nsenter does: `ip netns exec` hides /sys/fs/bpf, the pins, behind a fresh /sys.
    with netns.entered(net.node):
        if privileges:
            made = _started([*privileges, *_FILE, source, *options])
        else:
            made = _forked([source, *options], environment or {})
    try:
        yield made
    finally:
        made.kill()


def _started(argv: Sequence[str]) -> Agent:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    return Agent(process, process.stdin, process.stdout)


def _forked(arguments: Sequence[str], environment: Mapping[str, str]) -> Agent:
    (asked, asking), (answers, answering) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        _be_agent(arguments, environment, asked, answering)
    os.close(asked)
    os.close(answering)
    return Agent(Forked(pid), os.fdopen(asking, "w"), os.fdopen(answers))


def _be_agent(arguments: Sequence[str], environment: Mapping[str, str], asked: int, answering: int) -> NoReturn:
    status = 1
    try:
        gc.freeze()  # what the session forgot would close descriptors that are others here
        os.dup2(asked, 0)
        os.dup2(answering, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.update(environment)
        main(arguments)
        sys.stdout.flush()
        status = 0
    except BaseException:  # whatever it is, this must not go on as the session
        traceback.print_exc()
    finally:
        os._exit(status)
