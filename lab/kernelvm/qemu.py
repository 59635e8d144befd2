# SPDX-License-Identifier: Apache-2.0
"""The machine, as QEMU's arguments. Pure: values in, a command line out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.kernelvm.image import KernelImage

PROGRAM: Final = "qemu-system-x86_64"
ACCELERATORS: Final = ("tcg", "counted", "kvm")
"""``tcg``: emulation, works everywhere. ``counted``: emulation whose guest's clock is its instruction count, one
nanosecond each, whatever the host does; one processor. ``kvm``: a /dev/kvm that exists may still not work."""
# panic=-1 with -no-reboot: a crashed kernel ends QEMU at once instead of hanging until the time limit.
COMMAND_LINE: Final = "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off random.trust_cpu=on"


@dataclass(frozen=True)
class Machine:
    """What a guest gets."""

    kernel: KernelImage
    rootfs: Path
    input: Path
    output: Path
    accelerator: str = "tcg"
    """One of ACCELERATORS."""
    processors: int = 2
    """A ``counted`` guest has one whatever this says."""
    memory_mib: int = 2048
    disks: tuple[Path, ...] = ()
    """Further images, read-only: /dev/vde, /dev/vdf, ... in the guest."""


def command(machine: Machine, *, console: Path | None) -> list[str]:
    """The command line. ``console`` takes the kernel's messages; the second serial port is standard output.

    Without it the first serial port is the terminal. The guest has no network beyond its own namespaces.
    """
    return [
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
        *_accelerator(machine),
        "-m", str(machine.memory_mib),
        "-kernel", str(machine.kernel.vmlinuz), "-initrd", str(machine.kernel.initramfs), "-append", COMMAND_LINE,
        *disk(machine.rootfs, read_only=True), *disk(machine.kernel.modules, read_only=True),
        *disk(machine.input, read_only=True), *disk(machine.output, read_only=False),
        *(word for extra in machine.disks for word in disk(extra, read_only=True)),
        "-device", "virtio-rng-pci",
        *_serial(console),
    ]  # fmt: skip


def _accelerator(machine: Machine) -> Sequence[str]:
    processors = ("-smp", str(machine.processors))
    match machine.accelerator:
        case "kvm":
            return ("-accel", "kvm", "-cpu", "host", *processors)
        case "counted":  # the counter knows one thread only
            counter = ("-icount", "shift=0,sleep=off")
            return ("-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", *counter)
        case "tcg":
            return ("-accel", "tcg,thread=multi", "-cpu", "max", *processors)
    raise ValueError(f"{machine.accelerator!r} is no accelerator; use {', '.join(ACCELERATORS)}")


def disk(path: Path, *, read_only: bool) -> Sequence[str]:
    """The words that give a guest one more disk, an image in raw form."""
    # A comma in a path would end the option: QEMU reads two as one.
    file = str(path).replace(",", ",,")
    flag = "on" if read_only else "off"
    return ("-drive", f"file={file},format=raw,if=virtio,readonly={flag},cache=unsafe")


def _serial(console: Path | None) -> Sequence[str]:
    if console is None:
        return ("-serial", "mon:stdio")
    return ("-serial", f"file:{console}", "-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out")
