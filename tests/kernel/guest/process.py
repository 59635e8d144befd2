# SPDX-License-Identifier: Apache-2.0
"""tests.kernel.guest.agent as a process on a node: asked for readings, killed, or ended in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lab.network import netns
from tests.kernel.guest.measuring import PATIENCE
from tests.kernel.guest.network import Network


class Agent:
    """Made by ``agent``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> dict[str, Any]:
        """The next answer; the first one comes once the source is open."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
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
        self._process.communicate()

    def end(self) -> int:
        """End the input, and wait; the exit status."""
        self._process.communicate()
        return self._process.returncode


@contextmanager
def agent(
    net: Network,
    source: str,
    *options: str,
    privileges: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Agent]:
    """An agent on the node, killed afterwards; ``privileges`` is the command that takes some of its powers."""
    argv = [*privileges, sys.executable, "-m", "tests.kernel.guest.agent", source, *options]
    # By the namespace alone, as nsenter does: `ip netns exec` hides /sys/fs/bpf, the pins, behind a fresh /sys.
    with netns.entered(net.node):
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    made = Agent(process)
    try:
        yield made
    finally:
        made.kill()
