from __future__ import annotations

from pathlib import Path

import pytest

from footprint.cluster.client import ApiError, ClusterConfigError, connect, request

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
"""


@pytest.mark.parametrize("content", [None, "", "not: [valid", "{}", "\x00\x01"])
def test_an_unreadable_kubeconfig_is_one_error_that_names_the_remedy(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterConfigError, match=r"--kubeconfig") as refused:
        connect(str(path), user_agent="test")
    assert "\n" not in str(refused.value)


def test_outside_a_pod_the_flag_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterConfigError, match="--kubeconfig FILE"):
        connect(None, user_agent="test")


def test_an_api_server_that_is_away_is_status_zero(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    with pytest.raises(ApiError, match="cannot reach") as away:
        request(connect(str(path), user_agent="test"), "GET", "/api/v1/nodes")
    assert away.value.status == 0
