# SPDX-License-Identifier: Apache-2.0
"""Readiness: table of what the API server may say of a node."""

from __future__ import annotations

from typing import Any

import pytest

from footprint.cluster.client import ApiError
from lab.controlplane import readiness as cluster

API: Any = None  # no request leaves these tests
READY = {"type": "Ready", "status": "True"}
TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def node(conditions: list[dict[str, str]], taints: list[dict[str, str]]) -> dict[str, Any]:
    return {"metadata": {"name": "node1"}, "spec": {"taints": taints}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("value", "ready"),
    [
        (node([READY], []), True),
        (node([READY], [{"key": "dedicated", "effect": "NoSchedule"}]), True),
        (node([READY], [TAINT]), False),
        (node([{**READY, "status": "Unknown"}], []), False),
        (node([{"type": "MemoryPressure", "status": "True"}], []), False),
        ({"metadata": {"name": "node1"}}, False),
    ],
)
def test_a_node_is_ready_when_it_says_so_and_is_open_for_pods(value: dict[str, Any], ready: bool) -> None:
    assert cluster.is_ready(value) is ready


@pytest.mark.parametrize("status", [0, 404, 429, 500, 503])
def test_a_busy_api_server_reads_as_not_yet(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise ApiError(status, "not now")

    monkeypatch.setattr(cluster, "request", refuse)
    assert cluster.nodes_ready(API, ["node1"]) is False
    assert cluster.pods_admitted(API) is False


def test_a_refusal_for_good_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise ApiError(403, "forbidden")

    monkeypatch.setattr(cluster, "request", refuse)
    with pytest.raises(ApiError, match="forbidden"):
        cluster.nodes_ready(API, ["node1"])


def test_all_nodes_must_be_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "request", lambda *_args, **_options: {"items": [node([READY], [])]})
    assert cluster.nodes_ready(API, ["node1"])
    assert not cluster.nodes_ready(API, ["node1", "node2"])
