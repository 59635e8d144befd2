# SPDX-License-Identifier: Apache-2.0
"""Taking annotations and Leases off a cluster; the API is a small table of objects that answers as a server does.

The same on the real API server, with the account and rights of the chart's hook: tests/cluster/test_install.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from extender import cleanup as module
from extender.cleanup import ANNOTATIONS, Cleaned, CleanupSettings, cleanup, sentence
from extender.cli import main
from footprint.cluster.client import MERGE_PATCH, ApiError
from footprint.keys import PREFIX, lease_name

SPACE = "/apis/coordination.k8s.io/v1/namespaces/space/leases"
PODS = "/api/v1/namespaces/space/pods"
NODES = "/api/v1/nodes"


class Api:
    """Objects by path; lists in pages, answers 404 for what is not there, logs what changes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.changes: list[tuple[str, str]] = []
        self.vanishing: set[str] = set()
        self.refused: set[str] = set()

    def put(self, collection: str, name: str, annotations: Mapping[str, str] | None = None) -> None:
        self.objects[f"{collection}/{name}"] = {"metadata": {"name": name, "annotations": dict(annotations or {})}}

    def __call__(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:  # fmt: skip
        if path in self.refused:
            raise ApiError(403, "not allowed")
        if method == "GET":
            found = [value for key, value in self.objects.items() if key.rpartition("/")[0] == path]
            start, size = int((query or {}).get("continue", "0")), int((query or {})["limit"])
            rest = str(start + size) if start + size < len(found) else ""
            return {"items": found[start : start + size], "metadata": {"continue": rest}}
        if path not in self.objects or path in self.vanishing:
            raise ApiError(404, "gone")
        self.changes.append((method, path))
        if method == "DELETE":
            del self.objects[path]
        else:
            assert content_type == MERGE_PATCH
            for key, value in body["metadata"]["annotations"].items():
                assert value is None
                del self.objects[path]["metadata"]["annotations"][key]
        return {}


class Clock:
    """Time that passes only in ``sleep``; ``at`` says what happens then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, Any] = {}

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [m for m in self.at if m <= self.now]:
            self.at.pop(moment)()


def settings(**values: Any) -> CleanupSettings:
    return CleanupSettings(namespace="space", **values)


def run(api: Api, clock: Clock | None = None, **values: Any) -> Cleaned:
    clock = clock or Clock()
    return cleanup(api, settings(**values), clock=clock, sleep=clock.sleep)


def test_our_annotations_go_and_others_stay() -> None:
    api = Api()
    api.put(NODES, "a", {**dict.fromkeys(ANNOTATIONS, "x"), "other": "1", PREFIX + "mine": "kept"})
    api.put(NODES, "b", {"other": "1"})
    assert run(api).nodes == 1
    assert api.objects[f"{NODES}/a"]["metadata"]["annotations"] == {"other": "1", PREFIX + "mine": "kept"}
    assert api.changes == [("PATCH", f"{NODES}/a")], "a Node that has none is not written"


def test_agents_leases_and_those_named_go_and_others_stay() -> None:
    api = Api()
    for name in (lease_name("a"), lease_name("b"), "election", "somebody-elses"):
        api.put(SPACE, name)
    assert run(api, lease=["election", "never-was"]).leases == 3
    assert list(api.objects) == [f"{SPACE}/somebody-elses"]


def test_a_second_time_there_is_nothing_to_do() -> None:
    api = Api()
    api.put(NODES, "a", dict.fromkeys(ANNOTATIONS, "x"))
    api.put(SPACE, lease_name("a"))
    assert run(api) == Cleaned(1, 1, ())
    assert run(api) == Cleaned(0, 0, ())


def test_every_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    api = Api()
    for index in range(5):
        api.put(NODES, f"n{index}", dict.fromkeys(ANNOTATIONS, "x"))
    assert run(api).nodes == 5


def test_what_went_by_itself_is_no_error() -> None:
    api = Api()
    api.put(NODES, "a", dict.fromkeys(ANNOTATIONS, "x"))
    api.put(SPACE, lease_name("a"))
    api.vanishing = set(api.objects)
    assert run(api) == Cleaned(0, 0, ())


def test_nothing_is_removed_before_the_last_agent_has_ended() -> None:
    api, clock = Api(), Clock()
    api.put(NODES, "a", dict.fromkeys(ANNOTATIONS, "x"))
    api.put(PODS, "agent")

    def end() -> None:
        assert api.changes == []
        del api.objects[f"{PODS}/agent"]

    clock.at[7.0] = end
    assert run(api, clock, wait_for="app=agent") == Cleaned(1, 0, ())
    assert clock.now == 7.0


def test_a_pod_that_never_ends_is_named_and_does_not_stop_the_rest() -> None:
    api, clock = Api(), Clock()
    api.put(NODES, "a", dict.fromkeys(ANNOTATIONS, "x"))
    api.put(PODS, "agent-on-a-dead-node")
    cleaned = run(api, clock, wait_for="app=agent", wait_seconds=10)
    assert cleaned == Cleaned(1, 0, ("agent-on-a-dead-node",))
    assert clock.now == 10.0
    assert sentence(cleaned).endswith("still running: agent-on-a-dead-node")


def test_a_refusal_is_an_error() -> None:
    api = Api()
    api.put(NODES, "a", dict.fromkeys(ANNOTATIONS, "x"))
    api.refused = {f"{NODES}/a"}
    with pytest.raises(ApiError, match="not allowed"):
        run(api)


def test_without_a_cluster_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["cleanup", "--kubeconfig", "/nowhere"])
    assert end.value.code == 2
    assert "/nowhere" in capsys.readouterr().err


def test_a_wrong_flag_of_the_command_is_one_line_that_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cleanup", "--wait-seconds=-1"])
    shown = capsys.readouterr().err
    assert shown.startswith("error: --wait-seconds '-1'")
    assert "cleanup --help" in shown
