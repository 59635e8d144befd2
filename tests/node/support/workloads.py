# SPDX-License-Identifier: Apache-2.0
"""Pods for real nodes: busybox from the lab's registry, and what their own interfaces counted.

The truth that measurements are held against is the pod's eth0: IP bytes, as the kernel counts them there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import yaml

from lab.nodes.real.cluster import RealLab
from lab.nodes.real.images import BUSYBOX

ETHERNET_HEADER = 14
PORT = 5001
SINK = ["nc", "-ll", "-p", str(PORT), "-e", "sh", "-c", "cat >/dev/null"]
"""Takes whatever is sent, one connection beside the other."""


def pod(
    name: str,
    command: Sequence[str],
    *,
    node: str | None = None,
    image: str = BUSYBOX,
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod that runs ``command``; ``node`` binds it without asking any scheduler."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            **({"nodeName": node} if node else {}),
            "containers": [{"name": "main", "image": image, "command": list(command)}],
            **spec,
        },
    }


def service(name: str, *, port: int = PORT, **spec: Any) -> dict[str, Any]:
    """A dual-stack Service in front of the pods labelled ``app: name``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"port": port, "targetPort": PORT}],
            **spec,
        },
    }


@contextmanager
def running(lab: RealLab, *objects: Mapping[str, Any]) -> Iterator[None]:
    """Create, wait until the pods among them are ready, and whatever happens delete."""
    text = yaml.safe_dump_all(objects)
    lab.kubectl("apply", "-f", "-", input=text)
    try:
        for each in objects:
            if each["kind"] == "Pod":
                about = each["metadata"]
                ready = ("wait", "--for=condition=Ready", f"pod/{about['name']}", "--timeout=110s")
                lab.kubectl("-n", about.get("namespace", "default"), *ready)
        yield
    finally:
        lab.kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=110s", input=text)


def inside(lab: RealLab, name: str, *command: str) -> str:
    """What a command prints in a pod, run by its kubelet on the API server's behalf."""
    return lab.kubectl("exec", name, "--", *command)


class Carried(NamedTuple):
    """IP bytes of an interface."""

    tx: int
    rx: int

    def since(self, earlier: Carried) -> Carried:
        return Carried(self.tx - earlier.tx, self.rx - earlier.rx)


def carried(lab: RealLab, name: str) -> Carried:
    """What a pod's eth0 has sent and received so far."""
    return interface(inside(lab, name, "cat", "/proc/net/dev"))


def interface(shown: str) -> Carried:
    """Of eth0, by the text of ``/proc/net/dev``."""
    match = re.search(r"^\s*eth0:\s*([\d ]+)$", shown, re.MULTILINE)
    assert match is not None, f"no eth0: {shown}"
    fields = [int(field) for field in match[1].split()]
    return Carried(fields[8] - ETHERNET_HEADER * fields[9], fields[0] - ETHERNET_HEADER * fields[1])


def flood(nc: str, host: str, port: int, mebibytes: int) -> str:
    """A shell's line that sends so much to ``host`` by ``nc``.

    It connects first until it gets through. A connection begun before kube-proxy has written its rules keeps the
    Service's address for ever, so each try is a new one.
    """
    until = f"until {nc} -w 2 {host} {port} </dev/null; do sleep 0.2; done"
    return f"{until}; dd if=/dev/zero bs=65536 count={mebibytes * 16} 2>/dev/null | {nc} {host} {port}"


def send(lab: RealLab, name: str, host: str, mebibytes: int, port: int = PORT) -> None:
    """Have a pod send so much to ``host``, and return when all of it has arrived."""
    inside(lab, name, "sh", "-c", flood("nc", host, port, mebibytes))
