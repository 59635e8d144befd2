# SPDX-License-Identifier: Apache-2.0
"""The agent as it starts, runs and ends: exit status and the one line that a person reads."""

from __future__ import annotations

import errno
import gc
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from footprint.classes import TrafficClass
from footprint.cluster.client import ApiError
from footprint.codec import encode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from lab.controlplane import pki
from nodeagent import run as program
from nodeagent.metrics import LoopState
from nodeagent.node.link import Link
from nodeagent.publishing import node_writer as kubernetes_writer
from nodeagent.settings import AgentSettings, parse
from nodeagent.sources.base import Counters, FlowThresholds, Locality, Reading, SourceUnavailable
from nodeagent.tuning.tuner import Tuner
from tests.kubeconfig import kubeconfig

USER = {"token": "t"}
pytestmark = pytest.mark.usefixtures("unchanged_logging")


def settings(folder: Path, *arguments: str) -> AgentSettings:
    return parse([
        "--node-name", "n1", "--kubeconfig", str(kubeconfig(folder / "config", user=USER)),
        "--uplink", "lo", "--link-capacity", "1G",
        "--metrics-port", "0", "--poll-interval", "0.2", *arguments,
    ])  # fmt: skip


def test_a_metrics_port_in_use_is_one_line_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as end:
            program._serve(
                settings(tmp_path, "--metrics-host", "127.0.0.1", "--metrics-port", port), None, LoopState()
            )
    assert end.value.code == 2
    assert "--metrics-port (0: none)" in capsys.readouterr().err


def node(annotation: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {} if annotation is None else {NODE_FOOTPRINT: annotation}}}


def published() -> str:
    gone = PodFootprint("u", "d", "p", "Pod/p", TrafficClass.MOUSE)
    return encode(NodeFootprint(src="t", cap=LinkRates(1e9, 1e9), ended=(gone,))).text


@pytest.mark.parametrize(
    ("answer", "taught"),
    [
        (node(None), []),
        (node(published()), ["u"]),
        (node("{"), []),
        ({"metadata": {}}, []),
        (ApiError(0, "?"), []),
    ],
)
def test_what_an_earlier_agent_published_is_used_where_it_can_be_read_and_missed_by_nobody(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | ApiError, taught: list[str]
) -> None:
    def request(*_arguments: Any, **_options: Any) -> dict[str, Any]:
        if isinstance(answer, ApiError):
            raise answer
        return answer

    api: Any = object()
    monkeypatch.setattr(kubernetes_writer, "request", request)
    assert [pod.uid for pod in program._check_node(api, "n1").ended] == taught


def test_a_node_that_does_not_exist_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def request(*_arguments: Any, **_options: Any) -> dict[str, Any]:
        raise ApiError(404, "not found")

    api: Any = object()
    monkeypatch.setattr(kubernetes_writer, "request", request)
    with pytest.raises(SystemExit) as end:
        program._check_node(api, "n1")
    assert end.value.code == 2
    assert "kubectl get nodes" in capsys.readouterr().err


def test_a_server_that_cannot_be_trusted_delays_publishing_and_does_not_end_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = pki.create(tmp_path / "keys", ["IP:127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as server:  # never speaks TLS: the handshake fails
        server.settimeout(10)
        path = kubeconfig(
            tmp_path / "config", f"https://127.0.0.1:{server.getsockname()[1]}", user=USER, ca=keys.ca
        )
        api = program._connect(parse(["--node-name", "n1", "--kubeconfig", str(path)]))

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(2**16)
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        assert program._check_node(api, "n1").footprint is None
    assert "Traceback" not in capsys.readouterr().err


class Source:
    """Measures a little, then does what ``at_last`` says."""

    name = "standin"
    keep = pinned = False

    def __init__(self, at_last: Any) -> None:
        self._at_last = at_last
        self.readings = self.closed = 0

    def open(self) -> None: ...
    def set_thresholds(self, thresholds: FlowThresholds) -> None: ...
    def set_locality(self, locality: Locality) -> None: ...
    def close(self) -> None:
        self.closed += 1

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False

    def read(self, now: float) -> Reading:
        self.readings += 1
        if self.readings == 2:
            self._at_last()
        return Reading(now, 1, {"host": Counters()})


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ``run`` changes of the process, put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(program, "_FIRST_SYNC", 0.2)
    yield
    gc.unfreeze()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, source: Source) -> int:
    monkeypatch.setattr(program, "_open_source", lambda _settings: source)
    return program.run(settings(folder))


@pytest.mark.usefixtures("process")
def test_a_signal_ends_it_with_status_zero_after_one_last_reading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = Source(lambda: signal.raise_signal(signal.SIGTERM))
    assert run(monkeypatch, tmp_path, source) == 0
    assert (source.readings, source.closed) == (3, 1)


@pytest.mark.usefixtures("process")
def test_a_source_that_gives_up_ends_it_with_status_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused() -> None:
        raise SourceUnavailable("the kernel refused; try this")

    source = Source(refused)
    assert run(monkeypatch, tmp_path, source) == 1
    assert source.closed == 1


@pytest.mark.usefixtures("process")
def test_a_source_that_cannot_be_closed_leaves_no_tuning_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails() -> None:
        raise OSError(errno.EIO, "Input/output error")

    source = Source(lambda: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(source, "close", fails)
    tuner = create_autospec(Tuner, instance=True)
    monkeypatch.setattr(program, "_tune", lambda _settings: tuner)
    with pytest.raises(OSError, match="Input/output error"):
        run(monkeypatch, tmp_path, source)
    tuner.close.assert_called_once_with()


@pytest.mark.usefixtures("process")
def test_a_source_that_cannot_be_had_is_one_line_and_status_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_arguments: Any, **_options: Any) -> None:
        raise SourceUnavailable("nothing can be measured; load a module")

    monkeypatch.setattr(program, "open_source", refused)
    with pytest.raises(SystemExit) as end:
        program.run(settings(tmp_path))
    assert end.value.code == 2
    assert "error: nothing can be measured; load a module\n" in capsys.readouterr().err


def test_uplinks_that_cannot_be_read_do_not_end_the_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    uplinks: list[Callable[[], list[str]]] = []

    def refused(_settings: AgentSettings) -> Link:
        raise OSError(110, "Connection timed out")

    monkeypatch.setattr(program, "_look_for_link", refused)
    monkeypatch.setattr(program, "PriorityPart", lambda _options, _folder, found: uplinks.append(found))
    assert program._tune(parse(["--node-name", "n1", "--tune-priority", "apply"])) is not None
    assert uplinks[0]() == []
