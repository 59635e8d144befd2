# SPDX-License-Identifier: Apache-2.0
"""What befalls nodes: a container without memory, programs that are restarted, a disk that is called full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.machine import cgroups
from lab.nodes.real import pins
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import agent_metrics


def memory_files(pid: int) -> tuple[Path, Path]:
    """The usage and the limit of a process's memory cgroup, in either version."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("memory", ""):
            continue
        for folder, usage, limit in (
            (cgroups.ROOT / f"memory{path}", "memory.usage_in_bytes", "memory.limit_in_bytes"),
            (cgroups.ROOT / path.lstrip("/"), "memory.current", "memory.max"),
        ):
            if (folder / limit).exists():
                return folder / usage, folder / limit
    raise AssertionError(f"process {pid} is in no memory cgroup")


def squeeze(pid: int, index: int) -> bool:
    """Lower the limit of an agent's container to what it uses, and have it work; whether it has ended."""
    with suppress(OSError):  # it cannot be lowered that far, or the container has ended
        usage, limit = memory_files(pid)
        limit.write_text(usage.read_text())
    with suppress(OSError):
        agent_metrics(index)
    return not Path(f"/proc/{pid}").exists()


def restart_runtime(lab: RealLab, name: str) -> None:
    """Restart containerd and kubelet of a node."""
    node = lab.node(name)
    node.stop_program(pins.KUBELET)
    node.stop_program(pins.CONTAINERD)
    node.start_containerd()
    node.start_kubelet()


@contextmanager
def disk_pressure(lab: RealLab, name: str) -> Iterator[None]:
    """Within this block the node's kubelet calls its disk full, whatever is free."""
    path = lab.dir / "nodes" / name / "kubelet.json"
    # Without it, kubelet speaks of pressure for five minutes more.
    soon_over = {**json.loads(path.read_text()), "evictionPressureTransitionPeriod": "5s"}
    full = {**soon_over, "evictionHard": {**soon_over["evictionHard"], "nodefs.available": "99.9%"}}
    node = lab.node(name)
    try:
        path.write_text(json.dumps(full))
        node.start_kubelet()
        yield
    finally:
        path.write_text(json.dumps(soon_over))
        node.start_kubelet()
