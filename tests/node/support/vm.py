# SPDX-License-Identifier: Apache-2.0
"""The lab with nodes in virtual machines: the chart on it, and how agents there began and are confined.

Each such node has one emulated processor, so that everything takes minutes which takes seconds elsewhere. The
machine's own clock may be set, and so may its power be cut.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from lab import manifests
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.vm.node import VmNode
from tests.cluster.support.workloads import agent_metrics, eventually, get
from tests.node.support import chart
from tests.node.support.chart import NAME
from tests.node.support.workloads import PORT, Carried, flood, interface

T = TypeVar("T")

KERNELS_VARIABLE: Final = "TRAFFIC_FOOTPRINT_VM_KERNELS"
"""Kernels of the nodes in virtual machines, separated by spaces: ``make vmnodes VMS=6.1`` sets it."""
KERNELS: Final = tuple(os.environ.get(KERNELS_VARIABLE, "").split()) or ("6.12",)
"""One, unless asked for two. On a machine with two cores, two emulated processors take each other's time, until
containers run into kubelet's limit of two minutes for starting one."""
NATIVE: Final = "node1"
VMS: Final = tuple(f"node{number}" for number, _ in enumerate(KERNELS, start=2))
"""In the order of KERNELS."""
NODES: Final = (NATIVE, *VMS)
PINS: Final = "/sys/fs/bpf/traffic-footprint"
KEPT: Final = "/var/lib/traffic-footprint"
MEASURES: Final = "measuring with eBPF on conntrack"
"""What an agent's log says when its program counts."""
_ASIDE: Final = {"nodeSelector": {"kubernetes.io/hostname": NATIVE}}
_PATIENT: Final = {"compileTimeout": 600}
"""Seconds. An emulated processor that kubelet and kube-proxy keep busy has needed the default's two minutes."""
VALUES: Final[dict[str, Any]] = {
    "nodeagent": {"settings": _PATIENT},
    "extender": _ASIDE,
    "scheduler": _ASIDE,
}
"""The defaults, but an agent has time to compile, and what places pods is on the node in a namespace: an emulated
processor is too slow for a kube-scheduler to keep its Lease."""
RENEW_SECONDS: Final = 10
STALE_SECONDS: Final = 30
FREQUENT: Final[dict[str, Any]] = {
    "nodeagent": {
        "settings": {**_PATIENT, "leaseRenew": RENEW_SECONDS},
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},  # all at once, for it takes a minute each
    },
    "extender": {**_ASIDE, "settings": {"staleAfter": STALE_SECONDS}},
    "scheduler": _ASIDE,
}
"""With these a node without signs of life is noticed soon."""
_TIMEOUT: Final = "--timeout=9m"
_EXEC_SECONDS: Final = 300.0


def installed(lab: RealLab) -> None:
    """Install the chart with VALUES, where it is not, and wait until its own probes call it ready."""
    if not json.loads(chart.helm(lab, "list", "--output", "json")):
        install = (
            "install",
            NAME,
            str(manifests.CHART),
            "--create-namespace",
            "--wait",
            _TIMEOUT,
            chart.POD_METRICS,
        )
        chart.helm(lab, *install, values=VALUES)


def upgraded(lab: RealLab, values: Mapping[str, Any]) -> None:
    """Upgrade to ``values`` on top of the defaults, and wait until it is ready."""
    upgrade = ("upgrade", NAME, str(manifests.CHART), "--wait", _TIMEOUT, chart.POD_METRICS)
    chart.helm(lab, *upgrade, values=values)


def uninstalled(lab: RealLab) -> None:
    """Remove the release as an operator does."""
    chart.helm(lab, "uninstall", NAME, "--wait", _TIMEOUT)


def machine(lab: RealLab, name: str) -> VmNode:
    """The node called ``name``, which is one in a virtual machine."""
    node = lab.node(name)
    assert isinstance(node, VmNode)
    return node


def agent(lab: RealLab, node: str) -> dict[str, Any]:
    """The agent's pod of a node, once there is one."""

    def look() -> dict[str, Any] | None:
        return next((p for p in chart.pods(lab, "nodeagent") if p["spec"].get("nodeName") == node), None)

    return eventually(f"{node} has an agent", look, 120)


@contextmanager
def running(lab: RealLab, *objects: Mapping[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """Create, wait until the pods among them run, and whatever happens delete; yields the pods by name."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    lab.kubectl("apply", "-f", "-", input=text)
    try:
        pods = [each["metadata"] for each in objects if each["kind"] == "Pod"]
        yield {
            about["name"]: eventually(f"{about['name']} runs", partial(_begun, lab, about), 400) for about in pods
        }
    finally:
        lab.kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", input=text)


def _begun(lab: RealLab, about: Mapping[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] = get(lab, "pod", about["name"], "-n", about.get("namespace", "default"))
    started = [status["state"] for status in found["status"].get("containerStatuses", ())]
    return found if started and all("running" in state for state in started) else None


def index(node: str) -> int:
    """A node's number."""
    return int(node.removeprefix("node"))


def send(lab: RealLab, name: str, host: str, mebibytes: int) -> None:
    """As that of the other nodes' tests, but an emulated machine may take many seconds to answer."""
    line = flood("nc", host, PORT, mebibytes).replace("-w 2 ", "-w 30 ")
    done = _exec(lab, name, "sh", "-c", line)
    assert done.returncode == 0, done.stderr


def at_once(do: Callable[[str], T], names: Iterable[str]) -> dict[str, T]:
    """What ``do`` returns for each name, all under way at once: most of it is waiting for emulated processors."""
    listed = list(names)
    with ThreadPoolExecutor(max(len(listed), 1)) as pool:
        return dict(zip(listed, pool.map(do, listed), strict=True))


class Place(NamedTuple):
    """Where a pod runs."""

    node: str
    pid: int
    """Of its first container."""


def places(lab: RealLab, pods: Mapping[str, Mapping[str, Any]]) -> dict[str, Place]:
    """By the pods' names. Asking takes seconds on an emulated processor, so ask once."""
    return {name: Place(each["spec"]["nodeName"], chart.process(lab, each)) for name, each in pods.items()}


def carried(lab: RealLab, place: Place) -> Carried:
    """What a pod's eth0 has sent and received so far; read on its node."""
    return interface(lab.node(place.node).run(["cat", f"/proc/{place.pid}/net/dev"]))


def in_agent(lab: RealLab, node: str, *command: str) -> subprocess.CompletedProcess[str]:
    """How a command ends in the agent's pod of a node."""
    return _exec(lab, agent(lab, node)["metadata"]["name"], *command, namespace=NAME)


def _exec(lab: RealLab, name: str, *command: str, namespace: str = "default") -> subprocess.CompletedProcess[str]:
    argv = [str(lab.kubectl_path), "--kubeconfig", str(lab.kubeconfig), "-n", namespace, "exec", name, "--"]
    return lab.exec_in("cp", [*argv, *command], timeout=_EXEC_SECONDS)


def missed(node: str) -> float:
    """Calls of hooks that the kernel skipped, as the node's agent counts them."""
    return agent_metrics(index(node)).get('traffic_footprint_agent_losses_total{kind="hooks-missed"}', 0.0)


def status(lab: RealLab, pod: Mapping[str, Any], container: str = "") -> dict[str, str]:
    """``/proc/PID/status`` of a pod's container of that name, or the first, with its mounts and AppArmor profile.

    Read on its node.
    """
    pid = chart.process(lab, pod, container)
    read = lab.node(pod["spec"]["nodeName"]).run
    fields = dict(
        line.split(":\t", 1) for line in read(["cat", f"/proc/{pid}/status"]).splitlines() if ":\t" in line
    )
    return {
        **fields,
        "mounts": read(["cat", f"/proc/{pid}/mounts"]),
        "apparmor": read(["cat", f"/proc/{pid}/attr/current"]).strip(),
    }


def said(lab: RealLab, pod: Mapping[str, Any], event: str) -> list[dict[str, Any]]:
    """What the newest container of a pod has logged that contains ``event``.

    Read from the node's own file: that needs nobody's certificate.
    """
    (found,) = pod["status"]["containerStatuses"]
    logged = _log(lab, pod, f"{found['restartCount']}.log").splitlines()
    lines = [json.loads(line) for line in logged if line.startswith("{")]
    return [line for line in lines if event in line["event"]]


def _log(lab: RealLab, pod: Mapping[str, Any], files: str = "*.log") -> str:
    """What a pod's containers have logged."""
    about = pod["metadata"]
    (found,) = pod["status"]["containerStatuses"]
    folder = f"/var/log/pods/{about['namespace']}_{about['name']}_{about['uid']}/{found['name']}"
    text = lab.node(pod["spec"]["nodeName"]).run(["sh", "-c", f"cat {folder}/{files}"])
    # After a time stamp, a stream, a tag.
    return "".join(f"{line.split(' ', 3)[3]}\n" for line in text.splitlines() if line.count(" ") >= 3)


class Began(NamedTuple):
    """How an agent got its program."""

    adopted: bool
    """A predecessor's runs on."""
    compiled: int
    """How many it has compiled."""
    log: str
    """What its containers have logged, for a test that fails."""


def began(lab: RealLab, node: str) -> Began:
    """How a node's agent got its program."""
    eventually(f"{node}'s agent is ready", lambda: all_ready(lab, [node]), 420)
    pod = agent(lab, node)
    log = _log(lab, pod)
    lines = said(lab, pod, MEASURES)
    assert [line["mode"] for line in lines] == ["fentry"], log
    compiled = agent_metrics(index(node))['traffic_footprint_agent_program_builds_total{outcome="compiled"}']
    return Began(lines[0]["adopted"], int(compiled), log)


def deleted(lab: RealLab, pods: Iterable[Mapping[str, Any]]) -> str:
    """Delete agents' pods at once, wait until they are gone, and return what they logged until their end."""
    names = [pod["metadata"]["name"] for pod in pods]
    kubectl = [str(lab.kubectl_path), "--kubeconfig", str(lab.kubeconfig), "-n", NAME]
    with tempfile.TemporaryFile("w+") as log:
        follow = [*kubectl, "logs", "--follow", "--tail=5"]
        followers = [subprocess.Popen([*follow, name], stdout=log, stderr=log) for name in names]
        try:
            lab.kubectl("-n", NAME, "delete", "pods", *names, "--timeout=110s")
        finally:
            for each in followers:
                each.terminate()
                each.wait()
        log.seek(0)
        return log.read()


def programs(lab: RealLab, node: str) -> list[str]:
    """The names of the tracing programs in a node's kernel."""
    listed = json.loads(lab.node(node).run(["bpftool", "--json", "prog", "show"]))
    return [each.get("name", "") for each in listed if each["type"] in ("tracing", "kprobe")]


def left(lab: RealLab, node: str, folder: str) -> list[str]:
    """Files below a folder of a node."""
    return lab.node(node).run(["sh", "-c", f"[ ! -d {folder} ] || find {folder} -mindepth 1"]).splitlines()


def all_ready(lab: RealLab, names: Sequence[str]) -> bool:
    """Whether nodes are Ready and their agents too."""
    nodes = {n["metadata"]["name"]: n["status"]["conditions"] for n in get(lab, "nodes")["items"]}
    ready = [n for n in names if any(c["type"] == "Ready" and c["status"] == "True" for c in nodes[n])]
    agents = {
        p["spec"].get("nodeName")
        for p in chart.pods(lab, "nodeagent")
        if all(c["ready"] for c in p["status"].get("containerStatuses", [{"ready": False}]))
    }
    return set(names) <= agents & set(ready)
