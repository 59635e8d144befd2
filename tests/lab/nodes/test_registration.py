# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import Any

import pytest

from footprint.cluster.client import ApiError
from lab.nodes import registration
from lab.nodes.registration import NodeDescription

NODE = NodeDescription("node2", 2, cpu="4", memory="16Gi")


def test_a_node_has_its_pods_ranges_and_host_name() -> None:
    made = registration.node_object(NODE)
    assert made["spec"] == {"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24", "fd00:244:2::/64"]}
    assert made["metadata"]["labels"]["kubernetes.io/hostname"] == "node2"


def test_the_status_says_ready_with_resources_and_addresses() -> None:
    status = registration.node_status(NODE, 1000.0, 1060.0)["status"]
    assert status["allocatable"] == {"cpu": "4", "memory": "16Gi", "pods": "110"}
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"
    assert ready["lastTransitionTime"] == "1970-01-01T00:16:40Z"
    assert ready["lastHeartbeatTime"] == "1970-01-01T00:17:40Z"
    assert [a["address"] for a in status["addresses"][:-1]] == ["10.10.0.12", "fd00:10::12", "node2"]
    assert status["addresses"][-1] == {"$patch": "replace"}


def test_the_lease_goes_with_its_node() -> None:
    lease = registration.lease_object(NODE, "uid-2", 1000.25)
    assert lease["metadata"]["ownerReferences"][0]["uid"] == "uid-2"
    assert lease["spec"]["renewTime"] == "1970-01-01T00:16:40.250000Z"
    assert lease["spec"]["leaseDurationSeconds"] > 2 * registration.RENEW_SECONDS


def test_nodes_are_kept_alive_whatever_a_request_failed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    renewed, stop = threading.Event(), threading.Event()

    def request(_api: Any, _method: str, path: str, **_options: Any) -> dict[str, Any]:
        asked.append(path)
        if len(asked) <= 2:
            raise RuntimeError("no failure that anybody foresaw")
        if "/leases/" in path:
            renewed.set()
        return {"metadata": {"uid": "u"}}

    monkeypatch.setattr(registration, "request", request)
    monkeypatch.setattr(registration, "RETRY_SECONDS", 0.01)
    registrar = registration.Registrar(object(), [NODE])  # type: ignore[arg-type]
    thread = threading.Thread(target=registrar.run, args=(stop,), daemon=True)
    thread.start()
    assert renewed.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_refused_status_costs_neither_the_lease_nor_the_other_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[str] = []

    def request(_api: Any, _method: str, path: str, **_options: Any) -> dict[str, Any]:
        if path == "/api/v1/nodes/node2/status":
            raise ApiError(422, "refused")
        if "/leases/" in path:
            renewed.append(path.rpartition("/")[2])
        return {"metadata": {"uid": "u"}}

    monkeypatch.setattr(registration, "request", request)
    registrar = registration.Registrar(object(), [NODE, NodeDescription("node3", 3)])  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ApiError, match="refused"):
            registrar.keep_alive()
    assert renewed == ["node2", "node3"] * 2
