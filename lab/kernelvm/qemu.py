"""The machine, as QEMU's arguments. Pure: values in, a command line out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.kernelvm.image import KernelImage

PROGRAM: Final = "qemu-system-x86_64"
# panic=-1 with -no-reboot: a crashed kernel ends QEMU at once instead of hanging until the time limit.
_COMMAND_LINE: Final = "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off random.trust_cpu=on"


@dataclass(frozen=True)
class Machine:
    """What a guest gets."""

    kernel: KernelImage
    rootfs: Path
    input: Path
    output: Path
    accelerator: str = "tcg"
    """``tcg`` (emulation: works everywhere) or ``kvm`` (a /dev/kvm that exists may still not work: ask for it)."""
    processors: int = 2
    memory_mib: int = 2048
    extra: tuple[str, ...] = ()
    """More arguments for QEMU, such as plugins that count instructions."""


def command(machine: Machine, *, console: Path | None) -> list[str]:
    """The command line. ``console`` takes the kernel's messages; the second serial port is standard output.

    Without it the first serial port is the terminal. The guest has no network beyond its own namespaces.
    """
    return [
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
        *_accelerator(machine),
        "-smp", str(machine.processors), "-m", str(machine.memory_mib),
        "-kernel", str(machine.kernel.vmlinuz), "-initrd", str(machine.kernel.initramfs), "-append", _COMMAND_LINE,
        *_disk(machine.rootfs, read_only=True), *_disk(machine.kernel.modules, read_only=True),
        *_disk(machine.input, read_only=True), *_disk(machine.output, read_only=False),
        "-device", "virtio-rng-pci",
        *_serial(console),
        *machine.extra,
    ]  # fmt: skip


def _accelerator(machine: Machine) -> Sequence[str]:
    if machine.accelerator == "kvm":
        return ("-accel", "kvm", "-cpu", "host")
    return ("-accel", "tcg,thread=multi", "-cpu", "max")


def _disk(path: Path, *, read_only: bool) -> Sequence[str]:
    # A comma in a path would end the option: QEMU reads two as one.
    file = str(path).replace(",", ",,")
    flag = "on" if read_only else "off"
    return ("-drive", f"file={file},format=raw,if=virtio,readonly={flag},cache=unsafe")


def _serial(console: Path | None) -> Sequence[str]:
    if console is None:
        return ("-serial", "mon:stdio")
    return ("-serial", f"file:{console}", "-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out")
