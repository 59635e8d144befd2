# SPDX-License-Identifier: Apache-2.0
"""What real nodes need of the machine, asked before anything is built or started; else one clear line.

Enters: how many nodes. Leaves: nothing, or LabError with the fact, the consequence and the remedy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.machine import cgroups
from lab.machine.leftovers import DATA
from lab.machine.room import available_memory, free_disk

TOOLS: Final = {
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "buildah": "buildah",
    "zstd": "zstd",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "nsenter": "util-linux",
    "gcc": "gcc",
}
"""Program → Debian package."""

MEMORY_PLANE: Final = 900 * 2**20
"""Bytes resident: API server, controller manager, two schedulers, etcd, the registry."""
MEMORY_NODE: Final = 500 * 2**20
"""Bytes resident: kubelet, containerd, kube-proxy, shims, the chart's pods of one node."""
DISK_NODE: Final = 3 * 2**30
"""Bytes of unpacked images and layers on one node."""
_BRIDGE: Final = Path("/proc/sys/net/bridge")
_FILE_SYSTEMS: Final = Path("/proc/filesystems")


def check(nodes: int, more_memory: int = 0, more_disk: int = 0) -> None:
    """Raise LabError naming what is missing and how to get it.

    ``nodes`` are those in namespaces; ``more_memory`` and ``more_disk`` bytes are for others.
    """
    if os.geteuid() != 0:
        raise LabError(
            "real nodes make namespaces, mounts and cgroups, which only root may; run as root (sudo -E)"
        )
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise LabError(f"real nodes need {', '.join(missing)}; run `lab/setup/packages.sh nodes` as root")
    memory, disk = available_memory() - more_memory, free_disk(DATA) - more_disk
    if problem := (cgroup_problem() or kernel_problem() or room_problem(nodes, memory, disk)):
        raise LabError(problem)


def cgroup_problem() -> str:
    """Why kubelets could not keep their pods in cgroups; empty when they can."""
    places = cgroups.hierarchies()
    remedy = "run on the machine itself, or in a container with its own writable cgroups (--privileged)"
    if not places:
        return f"no cgroup file system is mounted below {cgroups.ROOT}, where kubelet keeps pods; {remedy}"
    if lacking := cgroups.missing_controllers(places):
        return f"cgroup controllers {', '.join(lacking)} are not delegated here; kubelet needs them: {remedy}"
    if refused := cgroups.refusal(places):
        return f"cgroups cannot be made ({refused}), and every real node needs its own; {remedy}"
    if kept := cgroups.kept_back(places):
        return (
            f"cgroup controllers {', '.join(kept)} cannot be given to pods' cgroups, because processes are in the "
            "root that this machine sees; start the container with the host's cgroups (--cgroupns=host)"
        )
    return ""


def kernel_problem() -> str:
    """Which part of the kernel is missing; empty when all is there or can be loaded."""
    if "overlay" not in _FILE_SYSTEMS.read_text().split() and _modprobe("overlay"):
        return "this kernel has no overlayfs, on which containerd unpacks images; load it: `modprobe overlay`"
    if not _BRIDGE.exists() and _modprobe("br_netfilter"):
        return (
            "this kernel shows bridged packets to no rules, so that services fail between pods of one node; "
            "load the module: `modprobe br_netfilter`"
        )
    return ""


def room_problem(nodes: int, memory: int, disk: int) -> str:
    """Whether ``nodes`` fit into so many bytes of free memory and disk; empty when they do."""
    wanted = MEMORY_PLANE + nodes * MEMORY_NODE
    if memory < wanted:
        return (
            f"{nodes} real nodes take about {wanted / 2**30:.1f} GiB of memory and {memory / 2**30:.1f} are "
            "available; use fewer nodes, or end what takes the memory"
        )
    if disk < nodes * DISK_NODE:
        return (
            f"{nodes} real nodes take about {nodes * DISK_NODE / 2**30:.0f} GiB below {DATA} and "
            f"{disk / 2**30:.1f} are free; use fewer nodes, or make room there"
        )
    return ""


def _modprobe(module: str) -> bool:
    """Whether the module could not be loaded."""
    try:
        return bool(subprocess.run(["modprobe", module], capture_output=True, timeout=60, check=False).returncode)
    except (OSError, subprocess.TimeoutExpired):
        return True
