# SPDX-License-Identifier: Apache-2.0
"""A bootable kernel: vmlinuz, a small initramfs that finds the disks, and the modules as a disk of their own.

Built from the distribution's packages without installing them; kept in the cache.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.kernelvm import cache, cpio, packages
from lab.kernelvm.kernels import Kernel
from lab.kernelvm.progress import run, say
from lab.kernelvm.rootfs import STORED

FORMAT: Final = 2
BOOT_MODULES: Final = ("virtio_pci", "virtio_blk", "virtio_rng", "squashfs", "overlay")
"""What the initramfs needs to see the disks; those built into a kernel are passed over."""

_INIT: Final = Path(__file__).parent / "guest" / "initramfs-init.sh"
_REMEDY: Final = "run `lab/setup/packages.sh kernelvm` as root"


@dataclass(frozen=True)
class KernelImage:
    """The files QEMU boots."""

    vmlinuz: Path
    initramfs: Path
    modules: Path
    """Disk image of the folder /lib/modules/RELEASE."""
    package: str
    """name_version of the kernel's package."""


def image(kernel: Kernel) -> KernelImage:
    """The bootable ``kernel``, built when the cache lacks it (some 15 s). Raises LabError."""
    inputs = {"format": FORMAT, "package": kernel.package, "boot": BOOT_MODULES, "init": _INIT.read_text()}
    place = cache.built(f"kernel-{kernel.name}", inputs, lambda place: _build(kernel, place))
    about = json.loads((place / "about.json").read_text())
    return KernelImage(
        place / "vmlinuz", place / "initramfs.cpio", place / "modules.squashfs", str(about["package"])
    )


def _build(kernel: Kernel, place: Path) -> None:
    say(f"preparing kernel {kernel.name} from package {kernel.package}")
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        tree, tools = Path(scratch, "kernel"), Path(scratch, "busybox")
        package = packages.fetch(kernel.package, tree)
        packages.fetch("busybox-static", tools)
        folder = _modules_folder(tree)
        run(["depmod", "--basedir", str(tree), folder.name], "indexing modules", remedy=_REMEDY)
        vmlinuz = next(tree.glob("boot/vmlinuz-*"))
        (place / "initramfs.cpio").write_bytes(initramfs(folder, (tools / "bin/busybox").read_bytes()))
        run(["mksquashfs", str(folder), str(place / "modules.squashfs"), "-quiet", *STORED],
            "packing modules", remedy=_REMEDY)  # fmt: skip
        shutil.move(vmlinuz, place / "vmlinuz")
    (place / "about.json").write_text(json.dumps({"package": package, "release": folder.name}) + "\n")


def _modules_folder(tree: Path) -> Path:
    found = [path for path in [*tree.glob("lib/modules/*"), *tree.glob("usr/lib/modules/*")] if path.is_dir()]
    if len(found) != 1:
        raise LabError(f"the kernel's package holds {len(found)} folders of modules, not one")
    return found[0]


def initramfs(modules: Path, busybox: bytes) -> bytes:
    """The archive: busybox, init, and the boot modules in an order in which each finds what it needs."""
    order = load_order((modules / "modules.dep").read_text(), BOOT_MODULES)
    loaded = [(f"{i:02}-{_module_name(path)}.ko", plain(modules / path)) for i, path in enumerate(order)]
    folders = ("bin", "dev", "proc", "sys", "lower", "upper", "root", "modules")
    return cpio.archive([
        *(cpio.Entry(folder) for folder in folders),
        cpio.Entry("dev/console", device=(5, 1), content=b"", mode=0o600),
        cpio.Entry("bin/busybox", busybox),
        cpio.Entry("init", _INIT.read_bytes()),
        *(cpio.Entry(f"modules/{name}", content, 0o644) for name, content in loaded),
    ])  # fmt: skip


def load_order(dependencies: str, wanted: tuple[str, ...]) -> list[str]:
    """Paths of ``wanted`` and all they need, what is needed first; from the text of a modules.dep."""
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in dependencies.splitlines())}
    by_name = {_module_name(path): path for path in needs}
    order: list[str] = []
    for name in wanted:
        if (path := by_name.get(name)) is not None:
            # modules.dep lists the nearest need first.
            order.extend(p for p in [*reversed(needs[path]), path] if p not in order)
    return order


def plain(path: Path) -> bytes:
    """A module's bytes, uncompressed: busybox loads no other. Raises LabError for a form not known here."""
    content = path.read_bytes()
    if path.suffix == ".ko":
        return content
    if path.suffix == ".xz":
        return lzma.decompress(content)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc"], input=content, capture_output=True, check=True).stdout
    raise LabError(f"{path.name} is compressed in a way not known here")


def _module_name(path: str) -> str:
    return re.sub(r"\.ko(\.\w+)?$", "", Path(path).name).replace("-", "_")
