# SPDX-License-Identifier: Apache-2.0
"""What an API server refuses is told with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from footprint.cluster import paths
from plugin.cluster import Cluster, RefusedError
from plugin.kubeconfig import Selection, load
from tests.plugin.api_server import answering, kubeconfig

TF = paths.custom("traffic-footprint.io/v1alpha1", "trafficfootprints", "shop")


def cluster(folder: Path, port: int) -> Cluster:
    access = load(Selection(kubeconfig=str(kubeconfig(folder / "config", port))), {})
    return Cluster(access, user_agent="pytest", timeout=(3.0, 30.0))


@pytest.mark.parametrize(
    ("status", "path", "part"),
    [
        (401, paths.NODES, "log in again"),
        (403, paths.NODES, "the verb list on nodes, and check it with `kubectl auth can-i list nodes -A`"),
        (403, paths.node("a"), "`kubectl auth can-i get nodes -A`"),
        (403, paths.leases("ns"), "`kubectl auth can-i list leases.coordination.k8s.io -n ns`"),
        (403, TF, "`kubectl auth can-i list trafficfootprints.traffic-footprint.io -n shop`"),
        (403, "/api/v1/namespaces/ns/services/s:p/proxy/shadow", "`kubectl auth can-i get services/proxy -n ns`"),
        (404, TF, "apply manifests/base/crd.yaml"),
        (404, paths.node("a"), "check the name"),
        (422, paths.NODES, "correct what it names"),
        (429, paths.NODES, "try again soon"),
        (503, paths.NODES, "try again soon"),
        (500, paths.NODES, "read the API server's log"),
    ],
)
def test_a_refusal_says_what_to_do(tmp_path: Path, status: int, path: str, part: str) -> None:
    body = json.dumps({"message": "no"}).encode()
    with answering(lambda _: (status, body)) as (port, _), pytest.raises(RefusedError) as caught:
        cluster(tmp_path, port).read(path)
    assert part in caught.value.remedy
    assert caught.value.status == status


def test_a_write_names_its_own_verb(tmp_path: Path) -> None:
    for method, verb in (("PATCH", "patch"), ("POST", "create"), ("DELETE", "delete")):
        with pytest.raises(RefusedError, match="cannot reach the API server") as caught:
            cluster(tmp_path, 1).write(method, TF)
        assert caught.value.remedy.endswith("`kubectl version`"), verb


def test_what_is_no_object_is_passed_over(tmp_path: Path) -> None:
    body = {"items": [{"metadata": {"name": "a"}}, None, 7], "metadata": {"resourceVersion": "12"}}
    with answering(lambda _: (200, json.dumps(body).encode())) as (port, _):
        found = cluster(tmp_path, port).collection(paths.NODES)
    assert found == ([{"metadata": {"name": "a"}}], "12")
