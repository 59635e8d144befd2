# SPDX-License-Identifier: Apache-2.0
"""CPU time of the agent's process while it measures and publishes, beside ``conntrack -L`` every second.

``python -m lab.bench.agent.process [--flows 20000] [--seconds 60]``, as root, on this machine's kernel. A node
with 250 pod addresses consists of network namespaces. A real etcd and API server hold its Node and 250 Pods.
``traffic-footprint-nodeagent run --source ctnetlink`` runs at its default settings. Every pod sends one datagram
a second on its own connection. One pod is an elephant of 40 Mbit/s in every other period of 20 s. CPU is user and
system time, in seconds per second. Prints JSON.
"""

from __future__ import annotations

import argparse
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
from kubernetes.client import ApiClient

from footprint.cluster.client import connect, request
from footprint.keys import NODE_FOOTPRINT
from lab.bench.agent.ctnetlink import raised_limit
from lab.bench.figures import spread
from lab.bench.process_cost import Cost
from lab.bench.sender import MTU, Sender
from lab.bench.vm import node as vm_node
from lab.bench.vm.node import pod_address
from lab.controlplane import build
from lab.controlplane.plane import ControlPlane
from lab.network import netns
from lab.programs import console_script

_NODE: Final = "bench"
_NAMESPACE: Final = "bench"
_PATIENCE: Final = 120.0
_PACE: Final = 5_000_000
"""Payload bytes/s of the elephant: 40 Mbit/s."""
_TURN: Final = 20.0
_TOOL_ROUNDS: Final = 10
_MERGE: Final = "application/merge-patch+json"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--flows", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    binaries = build.ensure()
    with ExitStack() as stack:
        made = stack.enter_context(vm_node.node(MTU))
        stack.enter_context(raised_limit(options.flows))
        senders = [stack.enter_context(vm_node.send(pod_address(n), made)) for n in range(vm_node.PODS)]
        elephant = stack.enter_context(Sender(stack.enter_context(vm_node.send(pod_address(0), made)), _PACE))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="agent-process-")))
        plane = ControlPlane(binaries, folder, made.node)
        stack.callback(plane.stop)
        stack.enter_context(netns.entered(made.node))
        plane.start()
        api = connect(str(plane.admin), user_agent="bench")
        _populate(api)
        for number in range(options.flows):
            port, pod = divmod(number, len(senders))
            senders[pod].sendto(b"x", (vm_node.SERVER, vm_node.SILENT[0] + port))
        with _traffic(senders, elephant):
            report = measure(api, plane.admin, folder / "agent.log", options.seconds)
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


def measure(api: ApiClient, kubeconfig: Path, log: Path, seconds: float) -> dict[str, object]:
    """Measure inside the node's namespace, while traffic flows."""
    load = Path("/proc/loadavg").read_text().split()[0]
    with log.open("wb") as said, _agent(kubeconfig, said.fileno()) as agent:
        _until_published(api, agent, log)
        time.sleep(_TURN)
        written, before, began = _writes(log), Cost.of(agent.pid), time.monotonic()
        time.sleep(seconds)
        after, elapsed = Cost.of(agent.pid), time.monotonic() - began
        writes = _writes(log) - written
        entries = int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
        published = len(_node(api)["metadata"]["annotations"][NODE_FOOTPRINT])
    tool = [_conntrack_tool() for _ in range(_TOOL_ROUNDS)]
    return {
        "connections": entries,
        "pods": vm_node.PODS,
        "load": float(load),
        "agent": {
            "cpu_of_a_core": round((after.cpu_seconds - before.cpu_seconds) / elapsed, 4),
            "resident_mib": round(after.resident_mib, 1),
            "peak_mib": round(after.peak_mib, 1),
            "writes_per_minute": round(writes / elapsed * 60, 1),
            "annotation_bytes": published,
        },
        "conntrack -L, seconds of CPU each": spread(tool, digits=3),
    }


@contextmanager
def _agent(kubeconfig: Path, said: int) -> Iterator[subprocess.Popen[bytes]]:
    argv = [
        console_script("traffic-footprint-nodeagent"), "run", "--source", "ctnetlink", "--node-name", _NODE,
        "--namespace", _NAMESPACE, "--kubeconfig", str(kubeconfig), "--uplink", vm_node.UPLINK,
        "--link-capacity", "1G",
    ]  # fmt: skip
    process = subprocess.Popen(argv, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def _traffic(senders: Sequence[socket.socket], elephant: Sender) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        turn, sends = 0.0, False
        while not stop.wait(1.0):
            for sender in senders:
                sender.sendto(b"x" * 300, (vm_node.SERVER, vm_node.SILENT[0]))
            if time.monotonic() - turn >= _TURN:
                turn, sends = time.monotonic(), not sends
                if sends:
                    elephant.begin((vm_node.SERVER, vm_node.SILENT[1]))
                else:
                    elephant.end()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _populate(api: ApiClient) -> None:
    """Create the Node, and its pods with their addresses."""
    account = {"metadata": {"name": "default"}}
    request(api, "POST", "/api/v1/nodes", body={"metadata": {"name": _NODE}})
    request(api, "POST", "/api/v1/namespaces", body={"metadata": {"name": _NAMESPACE}})
    request(api, "POST", f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts", body=account)
    for number in range(vm_node.PODS):
        path = f"/api/v1/namespaces/{_NAMESPACE}/pods"
        request(api, "POST", path, body=_pod(number))
        address = pod_address(number)
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        patch = {"status": status}
        request(api, "PATCH", f"{path}/pod-{number}/status", body=patch, content_type=_MERGE)


def _pod(number: int) -> dict[str, Any]:
    spec = {"nodeName": _NODE, "containers": [{"name": "main", "image": "registry.example/none:1"}]}
    return {"metadata": {"name": f"pod-{number}", "labels": {"app": f"app-{number % 25}"}}, "spec": spec}


def _node(api: ApiClient) -> dict[str, Any]:
    return request(api, "GET", f"/api/v1/nodes/{_NODE}")


def _until_published(api: ApiClient, agent: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while NODE_FOOTPRINT not in (_node(api)["metadata"].get("annotations") or {}):
        if agent.poll() is not None or time.monotonic() > deadline:
            end = log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"error: the agent published nothing within {_PATIENCE:g} s; its log ends: {end}")
        time.sleep(0.5)


def _writes(log: Path) -> int:
    return log.read_bytes().count(b"node written")


def _conntrack_tool() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["conntrack", "-L"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
