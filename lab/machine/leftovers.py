# SPDX-License-Identifier: Apache-2.0
"""What real nodes leave outside their namespaces: cgroups with processes in them, and their disks.

Enters: the prefix of a lab's names, ``tf-<id>-``. Guarantees: afterwards none of its nodes' processes, cgroups,
mounts or files is left. A node's mounts are in a mount namespace of its own and end with its last process.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.machine import cgroups

DATA: Final = Path("/var/lib/traffic-footprint-lab")
"""Nodes' disks: container images and writable layers, on a file system that overlayfs takes as its upper layer."""

MOUNT_POINTS: Final = (
    "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log/pods", "/var/log/containers",
    "/run/containerd",
)  # fmt: skip
"""Empty folders of the machine that nodes mount their own over."""


def data(prefix: str) -> Path:
    """The folder on disk of all nodes of the lab whose names begin with ``prefix``."""
    return DATA / prefix.strip("-")


def remove(prefix: str) -> None:
    """End and remove everything of that lab's real nodes; nothing happens when it had none."""
    for name in cgroups.names(prefix):
        cgroups.destroy(name)
    shutil.rmtree(data(prefix), ignore_errors=True)
    with suppress(OSError):  # another lab's nodes are in it
        DATA.rmdir()
        # No other lab has nodes, so nobody mounts over these. What is not empty is somebody's, and stays.
        for folder in MOUNT_POINTS:
            with suppress(OSError):
                Path(folder).rmdir()


def orphans(live: set[str]) -> list[str]:
    """Prefixes of labs with disks or cgroups here that are not ``live``: the machine may have restarted since."""
    found = {path.name for path in DATA.glob("tf-*")} if DATA.is_dir() else set()
    found |= {"-".join(name.split("-")[:2]) for name in cgroups.names("tf-")}
    return sorted(f"{name}-" for name in found if name.removeprefix("tf-") not in live)
