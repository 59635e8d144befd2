# SPDX-License-Identifier: Apache-2.0
"""A node's machine, as QEMU's arguments. Pure: values in, a command line out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.kernelvm import qemu
from lab.kernelvm.image import KernelImage

MEMORY_MIB: Final = 1024
CODE_MIB: Final = 256
"""Translated code that QEMU keeps; its own default would be a GiB."""
LOGS: Final = ("containerd", "kubelet", "kube-proxy")
"""Programs whose output goes to files on this machine."""
AGENT: Final = "org.qemu.guest_agent.0"
TAP: Final = "tap0"


@dataclass(frozen=True)
class Machine:
    """What a node's guest gets."""

    name: str
    kernel: KernelImage
    debian: Path
    programs: Path
    told: Path
    own: Path
    mac: str
    speed: int
    """Mbit/s that its network card states."""
    run: Path
    """Folder of the agent's socket."""
    logs: Path
    processors: int = 1

    @property
    def agent(self) -> Path:
        """The socket of QEMU's guest agent."""
        return self.run / "agent"

    @property
    def console(self) -> Path:
        """The kernel's messages, and those of process 1."""
        return self.logs / f"console-{self.name}.log"


def command(machine: Machine) -> list[str]:
    """The command line, for a network namespace that has the device TAP."""
    return [
        qemu.PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", machine.name,
        "-accel", f"tcg,thread=multi,tb-size={CODE_MIB}", "-cpu", "max",
        "-smp", str(machine.processors), "-m", str(MEMORY_MIB),
        "-kernel", str(machine.kernel.vmlinuz), "-initrd", str(machine.kernel.initramfs),
        "-append", qemu.COMMAND_LINE,
        # The first four as the initramfs of ``lab.kernelvm`` takes them.
        *qemu.disk(machine.debian, read_only=True), *qemu.disk(machine.kernel.modules, read_only=True),
        *qemu.disk(machine.told, read_only=True), *qemu.disk(machine.own, read_only=False),
        *qemu.disk(machine.programs, read_only=True),
        "-device", "virtio-rng-pci",
        "-netdev", f"tap,id=fabric,ifname={TAP},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=fabric,mac={machine.mac},speed={machine.speed},duplex=full",
        "-serial", f"file:{_escaped(machine.console)}",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,path={_escaped(machine.agent)},server=on,wait=off",
        "-device", f"virtserialport,chardev=agent,name={AGENT}",
        *(word for program in LOGS for word in _log(machine, program)),
    ]  # fmt: skip


def _log(machine: Machine, program: str) -> tuple[str, ...]:
    path = _escaped(machine.logs / f"{program}-{machine.name}.log")
    return (
        "-chardev", f"file,id={program},path={path},append=on",
        "-device", f"virtserialport,chardev={program},name={program}",
    )  # fmt: skip


def _escaped(path: Path) -> str:
    """A comma in a path would end the option: QEMU reads two as one."""
    return str(path).replace(",", ",,")
