# SPDX-License-Identifier: Apache-2.0
"""A cluster for the plugin: nodes with footprints that never change, pods that stand in them, learned workloads.

Enters: a lab. Leaves: objects in its API server, and the installed program run against it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from extender.model.profile import Rates, known
from extender.model.trafficfootprint import API_VERSION, PLURAL, new_object, status_of
from extender.model.trafficfootprint_name import object_name
from footprint.classes import TrafficClass
from footprint.cluster import paths
from footprint.cluster.client import MERGE_PATCH, request
from footprint.codec import encode
from footprint.keys import DEFAULT_NAMESPACE, NODE_FOOTPRINT, lease_name
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from lab import programs
from lab.lab import Lab
from tests.cluster.support.workloads import pod

M: Final = 1e6
SHOP: Final = "shop"
_AGE: Final = re.compile(r"\d+ (s|min|h|days) ago")


def plugin(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed program. ``check``: it must succeed."""
    done = subprocess.run(
        [programs.console_script("kubectl-footprint"), *arguments],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def refused(*arguments: str, **environment: str) -> str:
    """The one line of an error."""
    done = plugin(*arguments, check=False, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def cells(table: str) -> list[str]:
    """A table's lines, cells parted by bars, and ages by what they are."""
    return [" | ".join(re.split(r" {2,}", _AGE.sub("AGO", line).strip())) for line in table.splitlines()]


def golden(lab: Lab) -> None:
    """Two nodes beside the lab's own, a namespace with two pods, and three workloads."""
    api = lab.api
    lab.create_namespace(SHOP)
    uids = {name: _pending(lab, name, labels) for name, labels in _PODS.items()}
    for name, found in _footprints(uids).items():
        metadata = {
            "name": name, "labels": {"zone": "east" if name == "golden-a" else "west"},
            "annotations": {NODE_FOOTPRINT: encode(found).text},
        }  # fmt: skip
        request(api, "POST", paths.NODES, body={"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    heartbeat(lab, "golden-a", datetime.now(UTC))
    heartbeat(lab, "golden-b", datetime.now(UTC) - timedelta(hours=5))
    learned(lab)


def heartbeat(lab: Lab, node: str, moment: datetime) -> None:
    """A Lease as the agent of ``node`` renews it, at ``moment``."""
    lease = {
        "apiVersion": paths.LEASE_API, "kind": "Lease",
        "metadata": {"name": lease_name(node), "namespace": DEFAULT_NAMESPACE},
        "spec": {"holderIdentity": node, "renewTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
    }  # fmt: skip
    request(lab.api, "POST", paths.leases(DEFAULT_NAMESPACE), body=lease)


def learned(lab: Lab) -> None:
    """Three TrafficFootprints as the learner writes them."""
    path = paths.custom(API_VERSION, PLURAL, SHOP)
    for workload, profile in _PROFILES.items():
        request(lab.api, "POST", path, body=new_object((SHOP, workload)))
        status = {"status": status_of(profile, (datetime.now(UTC) - timedelta(hours=9)).timestamp())}
        name = f"{path}/{object_name(workload)}/status"
        request(lab.api, "PATCH", name, body=status, content_type=MERGE_PATCH)


_PODS: Final = {"bulk-0": {"app": "bulk"}, "web-0": {"app": "web"}}
_PROFILES: Final = {
    "Job/bulk": known(
        10, TrafficClass.ELEPHANT, tx=Rates(150 * M, 190 * M), rx=Rates(2 * M, 3 * M), mice=0.0, flows=0.0
    ),
    "Deployment/web": known(50, TrafficClass.MOUSE, tx=Rates(), rx=Rates(), mice=2.0, flows=9.0),
    "StatefulSet/db": known(3, TrafficClass.MIXED, tx=Rates(20 * M, 25 * M), rx=Rates(), mice=1.0, flows=1.0),
}


def _pending(lab: Lab, name: str, labels: dict[str, str]) -> str:
    """The UID of a pod that no node suits."""
    made = pod(name, ["sleep", "1"], labels=labels, selector={"nowhere": "1"})
    return str(request(lab.api, "POST", paths.pods(SHOP), body=made)["metadata"]["uid"])


def _footprints(uids: dict[str, str]) -> dict[str, NodeFootprint]:
    bulk = PodFootprint(
        uid=uids["bulk-0"], ns=SHOP, name="bulk-0", wl="Job/bulk", cls=TrafficClass.ELEPHANT, tx=160 * M, rx=1 * M,
        etx=158 * M, el=2, nf=0.5,
    )  # fmt: skip
    web = PodFootprint(
        uid=uids["web-0"], ns=SHOP, name="web-0", wl="Deployment/web", cls=TrafficClass.MOUSE, tx=2 * M, rx=3 * M,
        nf=12, ms=1.0,
    )  # fmt: skip
    elsewhere = replace(web, uid="u-2", ns="default", name="web-1", nf=3)
    link = LinkRates(200 * M, 200 * M)
    busy = NodeFootprint(
        src="ebpf-fentry", cap=link, pods=(bulk, web), el=LinkRates(158 * M, 0), up="eth0", by="stated",
        used=LinkRates(200 * M, 5 * M), host=LinkRates(8 * M, 0),
    )  # fmt: skip
    uplinks = (
        Uplink("eth0", link, "stated", used=LinkRates(4 * M, 3 * M), full=()),
        Uplink("eth1", LinkRates(), used=LinkRates()),
    )
    lossy = NodeFootprint(
        src="ebpf-cgroup", cap=link, pods=(elsewhere,), up="eth0", by="estimated", sure=0.91,
        used=LinkRates(4 * M, 3 * M), bad=("flows-evicted",), uplinks=uplinks,
    )  # fmt: skip
    return {"golden-a": busy, "golden-b": lossy}


def credentials(lab: Lab, folder: Path) -> dict[str, Any]:
    """The lab's kubeconfig with everything in files of ``folder``, and the names of those files."""
    known_config = json.loads(lab.kubeconfig.read_text())
    cluster, user = known_config["clusters"][0]["cluster"], known_config["users"][0]["user"]
    folder.mkdir(parents=True, exist_ok=True)
    for part, key in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key")):
        source = Path(part[key])
        (folder / source.name).write_bytes(source.read_bytes())
        part[key] = source.name
    return {"cluster": cluster, "user": user}
