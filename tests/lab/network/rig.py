# SPDX-License-Identifier: Apache-2.0
"""A small fabric with pods for tests that send real packets; everything is gone afterwards."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from lab import traffic
from lab.network import addresses, netns, pods
from lab.network.fabric import Fabric, NodeSpec

_number = itertools.count()


class Rig:
    """A fabric and the programs started in it."""

    def __init__(self, nodes: int, link: str) -> None:
        lab_id = f"t{os.getpid()}x{next(_number)}"
        self.fabric = Fabric(lab_id, [NodeSpec(f"node{i}", i, link) for i in range(1, nodes + 1)])
        self._pods = itertools.count()
        self._started: list[subprocess.Popen[str]] = []

    def node(self, index: int) -> str:
        return self.fabric.node_namespace(f"node{index}")

    def pod(self, index: int) -> pods.PodLink:
        """A pod on node ``index``."""
        number = next(self._pods)
        v4, v6 = addresses.pod_addresses(index, number)
        link = pods.plan(self.fabric.lab_id, self.node(index), f"{number:08x}-uid", v4, v6)
        pods.create(link)
        return link

    def start(self, namespace: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        """A traffic program inside ``namespace``; servers have said that they listen when this returns."""
        argv = netns.command(namespace, traffic.argv(program, *arguments))
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        if program in ("sink", "mouse_server"):
            assert process.stdout is not None
            assert "listening" in json.loads(process.stdout.readline())
        return process

    def run(self, namespace: str, argv: Sequence[str]) -> str:
        """What a command prints inside ``namespace``."""
        done = subprocess.run(
            netns.command(namespace, argv), capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def close(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                process.kill()
            process.communicate()
        self.fabric.destroy()


def result(process: subprocess.Popen[str], timeout: float = 60) -> dict[str, Any]:
    """The program's last line, once it has ended."""
    output, _ = process.communicate(timeout=timeout)
    final: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert "result" in final
    return final


def stopped(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The last line of a program that is told to stop."""
    process.terminate()
    return result(process)


@contextmanager
def rig(nodes: int = 2, link: str = "200M") -> Iterator[Rig]:
    made = Rig(nodes, link)
    try:
        made.fabric.create()
        yield made
    finally:
        made.close()
