# SPDX-License-Identifier: Apache-2.0
"""The disks of a node's guest: Debian, the node's programs, what this node is told, and a disk of its own.

Enters: built programs, texts. Leaves: image files. Debian and the programs are read-only, shared by all nodes, and
kept in the cache, uncompressed: an emulated processor would spend longer on unpacking than the disk on reading.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from lab.images import base
from lab.kernelvm import cache, image
from lab.kernelvm.kernels import SUITE, by_name
from lab.kernelvm.progress import run, say
from lab.kernelvm.rootfs import STORED, debian
from lab.nodes.real import pins

PACKAGES: Final = (
    "iproute2", "nftables", "iptables", "ipset", "conntrack", "ethtool",  # kube-proxy, CNI plugins, who looks
    "kmod", "procps", "mount", "util-linux", "ca-certificates",
    "apparmor",  # containerd loads profiles by its parser
    "qemu-guest-agent", "bpftool",
)  # fmt: skip
FORMAT: Final = 1
"""Raise when the way of building changes."""
PROGRAMS: Final = Path("/opt/node/bin")
CNI: Final = Path("/opt/node/cni")
"""Apart: one of the plugins is called as iproute2's ``bridge``."""
CONFIG: Final = Path("/node")
"""Where the guest finds what it is told."""
DISK_BYTES: Final = 8 * 2**30
"""Of a node's own disk; the file is sparse, and at first the one of ``preload``."""
_IN_GUEST: Final = (
    pins.KUBELET, pins.KUBE_PROXY, pins.CONTAINERD, pins.SHIM, pins.CTR, pins.RUNC, pins.CRICTL,
)  # fmt: skip
_PLUGINS: Final = tuple(name for name, _ in pins.CNI_MODULE.packages)
_REMEDY: Final = "run `lab/setup/packages.sh kernelvm` as root"


def prepare(programs: Mapping[str, Path], kernels: Iterable[str]) -> None:
    """Build what the cache lacks for nodes with ``kernels``: minutes the first time. Raises LabError."""
    debian_image()
    programs_image(programs)
    for kernel in kernels:
        image.image(by_name(kernel))


def debian_image() -> Path:
    """Debian with what a node needs, built when the cache lacks it (about two minutes). Raises LabError."""

    def build(place: Path) -> None:
        say(f"building the root file system of nodes in virtual machines (Debian {SUITE}, about 2 minutes)")
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            debian(PACKAGES, place / "rootfs.squashfs", Path(scratch))

    inputs = {"format": FORMAT, "suite": SUITE, "packages": PACKAGES}
    return cache.built("node-rootfs", inputs, build) / "rootfs.squashfs"


def programs_image(programs: Mapping[str, Path]) -> Path:
    """The programs that run on a node, by name, as a disk image. Raises LabError."""
    placed = {name: path for name, path in in_guest().items() if name in programs}

    def build(place: Path) -> None:
        base.prune("node-programs", place)
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            tree = Path(scratch)
            tree.chmod(0o755)
            for name, path in placed.items():
                target = tree / path.relative_to(PROGRAMS.parent)
                target.parent.mkdir(exist_ok=True)
                shutil.copy2(programs[name], target)
            run(["mksquashfs", scratch, str(place / "programs.squashfs"), "-quiet", "-no-progress", *STORED],
                "packing the nodes' programs", remedy=_REMEDY)  # fmt: skip

    inputs = {name: [str(programs[name]), programs[name].stat().st_mtime_ns] for name in placed}
    return cache.built("node-programs", inputs, build) / "programs.squashfs"


def in_guest() -> dict[str, Path]:
    """Where each program is in a guest, by name."""
    return {name: PROGRAMS / name for name in _IN_GUEST} | {name: CNI / name for name in _PLUGINS}


def filesystem(path: Path, tree: Path) -> None:
    """Make the file system of a node's disk at ``path``, with the files of ``tree``. It has a journal: a machine
    that is killed finds its files again. Raises LabError."""
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    run(["mkfs.ext4", "-q", "-F", "-m", "0", "-d", str(tree), str(path)], "making a node's disk", remedy=_REMEDY,
        area="nodes")  # fmt: skip


def own(path: Path, preloaded: Path) -> None:
    """Make ``path`` one node's disk, for images, layers and state: a copy of ``preloaded``. Raises LabError.

    No overlay on it: QEMU keeps an overlay's tables in its memory, which a machine that is killed loses.
    """
    run(["cp", "--sparse=always", "--reflink=auto", str(preloaded), str(path)], "copying a node's disk",
        remedy="make room there", area="nodes")  # fmt: skip


def told(path: Path, texts: Mapping[str, str], init: Path) -> None:
    """Write the archive that the guest unpacks at its root: ``texts`` by path below CONFIG, and its process 1."""
    with tarfile.open(path, "w") as tar:
        tar.add(init, "kernelvm/init")  # as the initramfs of ``lab.kernelvm`` calls it
        for name, text in texts.items():
            content = text.encode()
            member = tarfile.TarInfo(str((CONFIG / name).relative_to("/")))
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    path.chmod(0o600)


def whole(kubeconfig: Path) -> str:
    """A kubeconfig with certificates and keys in it, in place of paths on this machine."""
    config = json.loads(kubeconfig.read_text())
    parts: list[dict[str, Any]] = [config["clusters"][0]["cluster"], config["users"][0]["user"]]
    for part in parts:
        for key in ("certificate-authority", "client-certificate", "client-key"):
            if key in part:
                part[f"{key}-data"] = base64.b64encode(Path(part.pop(key)).read_bytes()).decode()
    return json.dumps(config)
