# SPDX-License-Identifier: Apache-2.0
"""The whole agent with tuning: what it says on its port, and what is left when it has ended."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent import run as program
from nodeagent.settings import parse
from nodeagent.sources.base import Counters, Elephant, Reading
from tests.kubeconfig import kubeconfig
from tests.nodeagent.sources.ctnetlink.network import network
from tests.nodeagent.test_run import Source, process
from tests.nodeagent.tuning.tuned import BIT, Node, pair, tuned

__all__ = ["process"]  # a fixture
pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("unchanged_logging", "process")]


class WithElephant(Source):
    """Says that one connection is an elephant, and looks at the agent's port until that is acted upon."""

    def __init__(self, node: Node, elephant: Elephant, port: int) -> None:
        super().__init__(lambda: None)
        self._node, self._elephant, self._port = node, elephant, port
        self.said: dict[str, object] = {}
        self.ruleset = ""

    def read(self, now: float) -> Reading:
        self.readings += 1
        if self.readings > 1 and not self.said:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/tuning", timeout=10) as answer:
                found = json.load(answer)["priority"]
            if found["flows"]:
                self.said, self.ruleset = found, self._node.ruleset()
                signal.raise_signal(signal.SIGTERM)
        assert self.readings < 500, "the agent never tuned"
        return Reading(now, 1, {"host": Counters()}, elephants=(self._elephant,))


@pytest.mark.parametrize("mode", ["advise", "apply"])
def test_an_agent_says_what_it_tunes_and_takes_it_back_when_it_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(program, "FOLDER", folder)
    with network() as net, tuned(net, folder) as node, pair(net) as big:
        [name, peer] = [
            f"{address}:{port}" for address, port in (big.client.getsockname(), big.client.getpeername())
        ]
        before = node.ruleset()
        with netns.entered(net.node), socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        source = WithElephant(node, Elephant(("uid-1",), 6, name, peer, 10**8, 1e8, 0.0), port)
        monkeypatch.setattr(program, "_open_source", lambda _settings: source)
        with netns.entered(net.node):
            status = program.run(parse([
                "--node-name", "n1", "--kubeconfig", str(kubeconfig(tmp_path / "config", user={"token": "t"})),
                "--uplink", "uplink", "--link-capacity", "1G", "--metrics-host", "127.0.0.1",
                "--metrics-port", str(port), "--poll-interval", "0.1", "--tune-priority", mode,
            ]))  # fmt: skip
        assert status == 0
        assert source.said["mode"] == mode
        assert source.said["flows"] == [{"initiator": name, "responder": peer, "protocol": 6}]
        assert ("traffic_footprint" in source.ruleset) == (mode == "apply")
        assert node.ruleset() == before
        assert BIT not in node.marks().values()
    assert not list(folder.glob("*.json"))
