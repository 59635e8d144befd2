# SPDX-License-Identifier: Apache-2.0
"""The verdict that docs/how-to/read-a-verdict.md shows is what the plugin prints for that cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from footprint.classes import TrafficClass
from footprint.codec import encode
from footprint.keys import NODE_FOOTPRINT, lease_name
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from lab.docs.pages import CHECKOUT
from plugin.cli import main

M = 1e6
NOW = datetime.now(UTC).isoformat()
POD = "backup-29384710-x7k2p"


def measured(ns: str, name: str, workload: str, cls: TrafficClass, **rates: Any) -> PodFootprint:
    return PodFootprint(uid=f"{name}-uid", ns=ns, name=name, wl=workload, cls=cls, **rates)


def footprints() -> dict[str, NodeFootprint]:
    """Node a is free, b has two mice, c an elephant; d has no agent. A backup ran on a before."""
    link = LinkRates(200 * M, 200 * M)
    before = measured("ops", "backup-old", "CronJob/backup", TrafficClass.ELEPHANT, tx=140 * M, etx=140 * M)
    mice = [
        measured("shop", f"web-{number}", "Deployment/web", TrafficClass.MOUSE, tx=M, rx=M) for number in (1, 2)
    ]
    dump = measured("ops", "dump-1", "Job/dump", TrafficClass.ELEPHANT, tx=162 * M, etx=162 * M, el=1)
    return {
        "a": NodeFootprint("ebpf-fentry", link, ended=(before,)),
        "b": NodeFootprint("ebpf-fentry", link, pods=tuple(mice)),
        "c": NodeFootprint("ebpf-fentry", link, pods=(dump,), el=LinkRates(162 * M, 0)),
    }


def bound(pod: PodFootprint, node: str) -> dict[str, Any]:
    metadata = {"name": pod.name, "namespace": pod.ns, "uid": pod.uid, "creationTimestamp": NOW}
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": "Running"}}


def cluster() -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = [{"kind": "Node", "metadata": {"name": "d", "uid": "d"}}]
    for name, footprint in footprints().items():
        annotations = {NODE_FOOTPRINT: encode(footprint).text}
        objects.append({"kind": "Node", "metadata": {"name": name, "uid": name, "annotations": annotations}})
        lease = {"name": lease_name(name), "namespace": "traffic-footprint"}
        objects.append({"kind": "Lease", "metadata": lease, "spec": {"renewTime": NOW}})
        objects += [bound(pod, name) for pod in footprint.pods]
    owner = {"kind": "Job", "name": POD.rpartition("-")[0], "controller": True}
    metadata = {
        "name": POD,
        "namespace": "ops",
        "uid": "backup",
        "creationTimestamp": NOW,
        "ownerReferences": [owner],
    }
    return [*objects, {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {}}]


def test_the_page_shows_what_the_plugin_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"items": cluster()}))
    main(["explain", POD, "-n", "ops", "--state", str(state)])
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    page = (CHECKOUT / "docs" / "how-to" / "read-a-verdict.md").read_text()
    block = page[page.index(f"    ops/{POD}") :].split("\n\n", 1)[0]
    assert [line.split() for line in block.splitlines()] == printed
