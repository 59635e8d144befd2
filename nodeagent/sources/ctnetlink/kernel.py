# SPDX-License-Identifier: Apache-2.0
"""What the kernel offers to ctnetlink in this network namespace: capability, conntrack, its switches.

Effects: reads /proc, writes a sysctl. Nothing here raises for what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CAP_NET_ADMIN: Final = 12
PROC: Final = Path("/proc")
NODE_SYSCTLS: Final = Path("/run/traffic-footprint/sysctl")
"""Where a DaemonSet mounts the node's switches that the agent sets: a container's own /proc/sys is read-only."""


def has_net_admin(proc: Path = PROC) -> bool | None:
    """Whether this thread has CAP_NET_ADMIN in effect; None when /proc does not say."""
    try:
        status = (proc / "thread-self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return None


def sysctl_path(name: str, proc: Path = PROC) -> Path:
    return proc / "sys" / name.replace(".", "/")


def tracks_connections(proc: Path = PROC) -> bool:
    """Whether conntrack is in the kernel and visible in this namespace."""
    return sysctl_path("net.netfilter.nf_conntrack_count", proc).exists()


def read_switch(name: str, proc: Path = PROC) -> bool | None:
    """A 0/1 sysctl; None when it cannot be read."""
    try:
        return sysctl_path(name, proc).read_text().strip() != "0"
    except OSError:
        return None


def writable_paths(name: str, proc: Path = PROC, node: Path = NODE_SYSCTLS) -> tuple[Path, Path]:
    """Where a sysctl below ``net.`` may be set: this process's own view, then the node's."""
    return sysctl_path(name, proc), node / name.removeprefix("net.").replace(".", "/")


def enable(name: str, proc: Path = PROC, node: Path = NODE_SYSCTLS) -> tuple[bool, str]:
    """Set a 0/1 sysctl to 1. Returns whether it already was, and why it is not now (empty: it is)."""
    if read_switch(name, proc):
        return True, ""
    problems = []
    for path in writable_paths(name, proc, node):
        try:
            with path.open("r+") as file:  # never makes a file
                file.write("1")
        except OSError as error:
            problems.append(error.strerror or str(error))
        else:
            return False, ""
    return False, problems[0]
