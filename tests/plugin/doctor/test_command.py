# SPDX-License-Identifier: Apache-2.0
"""The command: an API server on loopback goes in; text, JSON and an exit status come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plugin.cli import main
from plugin.cluster import Cluster
from plugin.connection import PROGRAM
from plugin.doctor.gather import METRICS_PORT
from plugin.kubeconfig import Selection, load
from tests.plugin.api_server import answering, kubeconfig
from tests.plugin.doctor.cluster import (
    CONFIG,
    CRD,
    LEASES,
    NOW,
    OURS,
    config_map,
    healthy,
    lease,
    metrics_path,
    scheduler_config,
)


def present() -> dict[str, Any]:
    """A healthy cluster whose heartbeats are of this moment, whenever this module was loaded."""
    passed = (datetime.now(UTC) - NOW).total_seconds()
    return {**healthy(), LEASES: [lease(f"n{i}", ago=5 - passed) for i in (1, 2, 3)]}


def responder(state: dict[str, Any]) -> Callable[[str], tuple[int, bytes]]:
    def respond(path: str) -> tuple[int, bytes]:
        found = state.get(path, 404)
        if isinstance(found, int):
            return found, json.dumps({"message": f"no {path} for you\x1b[31m"}).encode()
        if isinstance(found, str):
            return 200, found.encode()
        return 200, json.dumps({"items": found} if isinstance(found, list) else found).encode()

    return respond


@contextmanager
def serving(state: dict[str, Any], tmp_path: Path) -> Iterator[list[str]]:
    """Flags for a cluster that holds ``state``."""
    with answering(responder(state)) as (port, _):
        yield ["--kubeconfig", str(kubeconfig(tmp_path / "k", port))]


def test_people_read_the_fact_what_follows_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {**present(), CONFIG: config_map(scheduler_config(ignorable=False, httpTimeout="5s"))}
    with serving(state, tmp_path) as flags:
        assert main(["doctor", *flags]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "ERROR    schedulers: kube-scheduler traffic-footprint-scheduler places no pod while the extender is away "
        "(ignorable is not true).",
        "         An outage of the extender stops all placement, its own pods' too.",
        "         helm upgrade traffic-footprint helm/traffic-footprint -n traffic-footprint --reuse-values    "
        "# the chart always says ignorable: true",
    ]
    assert lines[4].startswith("WARNING  schedulers: ")
    assert lines[-1].startswith("1 error, 1 warning, 1 note. Looked at: agents, ")


def test_notes_can_be_left_out_and_the_exit_status_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {**present(), CONFIG: config_map(scheduler_config(httpTimeout="5s"))}
    with serving(state, tmp_path) as flags:
        assert main(["doctor", "--severity", "error", "-o", "json", *flags]) == 1
        shown = json.loads(capsys.readouterr().out)
        assert shown["findings"] == []
        assert shown["counts"] == {"note": 1, "warning": 1, "error": 0}
        assert main(["doctor", "-o", "jsonpath={.findings[*].id}", *flags]) == 1
        assert capsys.readouterr().out == "timeout-long sources"
        assert main(["doctor", "-o", "yaml", *flags]) == 1
        assert "- id: timeout-long\n" in capsys.readouterr().out


def test_what_the_server_says_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving({**present(), CRD: 403, "/version": {"gitVersion": "v1.37\x1b[2J"}}, tmp_path) as flags:
        assert main(["doctor", *flags]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "for you\\x1b[31m" in shown


def test_credentials_that_are_not_accepted_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving({"/version": 401}, tmp_path) as flags, pytest.raises(SystemExit) as ended:
        main(["doctor", *flags])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "does not accept these credentials" in err


def test_a_page_longer_than_what_is_read_is_cut(tmp_path: Path) -> None:
    path = metrics_path()
    assert f":{METRICS_PORT}/" in path
    with serving({"/version": {}, path: "x" * 10_000_000, f"{OURS}/pods": []}, tmp_path) as flags:
        cluster = Cluster(load(Selection(flags[1])), user_agent=PROGRAM, timeout=(5.0, 30.0))
        assert len(cluster.text(path, 1000)) == 1000
        assert abs((cluster.clock() - datetime.now(UTC)).total_seconds()) < 300
