# SPDX-License-Identifier: Apache-2.0
"""The smallest virtual machine that sends: a kernel, busybox and a network card, in software.

It boots, sends a stated number of bytes over TCP, and powers off: some five seconds of a processor. Enters: what
the guest is told of its network. Leaves: a command line for QEMU, and the file that it boots from.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.kernelvm import cpio, image, qemu
from lab.kernelvm.kernels import by_name
from tests.kernel.guest.launcher import Guest

BLOCK: Final = 2**16
_DRIVER: Final = "virtio_net"
_INIT: Final = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for module in /modules/net-*.ko; do $b insmod $module; done
{network}
$b dd if=/dev/zero bs={block} count={blocks} 2>/dev/null | $b nc {server} {port}
echo "the guest has sent: $?"
$b poweroff -f
"""


def boot_file(folder: Path, guest: Guest, *, server: str, port: int, size: int) -> Path:
    """An initial RAM file system whose process 1 sends ``size`` bytes, whole blocks, to ``server``:``port``."""
    kernel = image.image(by_name("6.12"))
    order = image.load_order(_module(kernel.modules, "modules.dep").decode(), (_DRIVER,))
    lines = "\n".join(f"$b ip {line.strip()}" for line in guest.script("eth0").splitlines())
    init = _INIT.format(network=lines, block=BLOCK, blocks=size // BLOCK, server=server, port=port)
    modules = [
        cpio.Entry(f"modules/net-{number}.ko", _plain(folder, kernel.modules, path), 0o644)
        for number, path in enumerate(order)
    ]
    made = folder / "initramfs"
    # The kernel unpacks archives that follow one another, and a later file replaces an earlier one.
    made.write_bytes(kernel.initramfs.read_bytes() + cpio.archive([*modules, cpio.Entry("init", init.encode())]))
    return made


def command(boot: Path, guest: Guest, network: Sequence[str], *, name: str) -> list[str]:
    """QEMU's, which talks to its standard output. ``network``: the words that connect its card ``net``."""
    kernel = image.image(by_name("6.12"))
    return [
        qemu.PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-name", f"guest={name},debug-threads=on",
        "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256",
        "-kernel", str(kernel.vmlinuz), "-initrd", str(boot), "-append", qemu.COMMAND_LINE, "-serial", "stdio",
        *network, "-device", f"virtio-net-pci,netdev=net,mac={guest.mac},romfile=",
    ]  # fmt: skip


def _module(modules: Path, path: str) -> bytes:
    return subprocess.run(["unsquashfs", "-cat", str(modules), path], capture_output=True, check=True).stdout


def _plain(folder: Path, modules: Path, path: str) -> bytes:
    packed = folder / Path(path).name
    packed.write_bytes(_module(modules, path))
    return image.plain(packed)
