# SPDX-License-Identifier: Apache-2.0
"""The guest's root file system: a small Debian without kernel headers, with the project's Python packages.

Out: ``rootfs.squashfs`` in the cache, read-only and stored uncompressed: an emulated processor would spend longer
on unpacking than the disk on reading.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.kernelvm import cache, python_env
from lab.kernelvm.kernels import SUITE
from lab.kernelvm.packages import sources
from lab.kernelvm.progress import run, say

PACKAGES: Final = (
    "python3", "python3-bpfcc", "bpftool",  # the agent's own
    "iproute2", "nftables", "iptables", "conntrack", "ethtool", "iperf3",  # traffic and its ground truth
    "kmod", "procps", "libcap2-bin",
    "openvswitch-switch",  # a network plugin's switch
)  # fmt: skip
FORMAT: Final = 2
"""Raise when the way of building changes."""

_PYTHON_PATH: Final = "/usr/local/lib/python3.11/dist-packages"
_FILE: Final = "rootfs.squashfs"
_REMEDY: Final = (
    "run `lab/setup/packages.sh kernelvm` as root; Debian's mirror must be reachable, 2 GB of disk free"
)
_NO_SERVICES: Final = (
    r"""printf '#!/bin/sh\nexit 101\n' >"$1"/usr/sbin/policy-rc.d && chmod +x "$1"/usr/sbin/policy-rc.d"""
)
"""Packages start nothing while they are installed (Debian's policy-rc.d)."""
STORED: Final = ("-noI", "-noD", "-noF", "-noX")


def image() -> Path:
    """The file system's image, built when the cache lacks it (about two minutes). Raises LabError."""
    found = python_env.distributions()
    inputs = {
        "format": FORMAT, "suite": SUITE, "packages": PACKAGES, "python": python_env.versions(found),
    }  # fmt: skip

    def build(place: Path) -> None:
        say(f"building the guest's root file system (Debian {SUITE}, about 2 minutes)")
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            modules = Path(scratch, "python")
            python_env.copy(found, modules)
            debian(PACKAGES, place / _FILE, Path(scratch), f"sync-in {modules} {_PYTHON_PATH}")

    return cache.built("rootfs", inputs, build) / _FILE


def debian(packages: Sequence[str], target: Path, scratch: Path, *hooks: str) -> None:
    """Write Debian with ``packages`` to ``target``, as a disk image. ``hooks`` are mmdebstrap's, run at its end.

    Raises LabError.
    """
    listed, tar = scratch / "sources.list", scratch / "rootfs.tar"
    listed.write_text(sources() + "\n")
    run(mmdebstrap(packages, listed, tar, hooks), "installing packages", remedy=_REMEDY)
    with tar.open("rb"):
        run(["sh", "-c", 'exec sqfstar "$@" <"$0"', str(tar), *STORED, str(target)],
            "packing the root file system", remedy=_REMEDY)  # fmt: skip
    say(f"root file system: {target.stat().st_size / 2**20:.0f} MiB, kept in {cache.folder()}")


def mmdebstrap(packages: Sequence[str], listed: Path, tar: Path, hooks: Sequence[str] = ()) -> list[str]:
    """The command that makes the file system as ``tar``; as root or, with subordinate ids, as anyone."""
    return [
        "mmdebstrap", "--variant=minbase", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        f"--include={','.join(packages)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--essential-hook={_NO_SERVICES}",
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE, str(tar), str(listed),
    ]  # fmt: skip
