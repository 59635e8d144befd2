"""tests.kernel.guest.agent as a process on a node: asked for readings, killed, or ended in order."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
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
def agent(net: Network, source_name: str, capabilities: Sequence[str] | None = None) -> Iterator[Agent]:
    """An agent on the node, gone afterwards; ``capabilities`` are all it has (None: root's)."""
    argv = [sys.executable, "-m", "tests.kernel.guest.agent", source_name]
    if capabilities is not None:
        only = ",".join(["-all", *(f"+{name}" for name in capabilities)])
        argv = ["setpriv", f"--bounding-set={only}", f"--inh-caps={only}", "--", *argv]
    # Not by `ip netns exec`, which hides /sys/fs/bpf behind a fresh /sys.
    with netns.entered(net.node):
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    made = Agent(process)
    try:
        yield made
    finally:
        made.kill()
