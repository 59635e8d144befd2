# SPDX-License-Identifier: Apache-2.0
"""Boot a guest, stream what its command writes, end it in time, bring its files back.

QEMU has been seen to die of a segmentation fault before the guest began, and an emulated kernel of a page fault.
Such a start is repeated, and said so; once the guest's command has begun nothing ever is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.kernelvm import image, preconditions, qemu, rootfs, transfer
from lab.kernelvm.kernels import Kernel
from lab.kernelvm.progress import say

OUTPUT_DISK_BYTES: Final = 256 * 2**20
"""Most that /out may hold; the file is sparse."""
DEFAULT_TIMEOUT: Final = 600.0
STARTS: Final = 3
"""How often QEMU is started at most."""
SESSION_BEGINS: Final = "kernelvm: the session begins"
"""What guest/init.sh writes to the console before it runs the command."""
_PANIC: Final = "Kernel panic - not syncing"
"""What a kernel that gives up says; it ends QEMU in order (``qemu.COMMAND_LINE``)."""
_REMEDY: Final = "run `lab/setup/packages.sh kernelvm` as root"
_CONSOLE_TAIL: Final = 25


@dataclass(frozen=True)
class GuestResult:
    """How a guest's command ended."""

    status: int
    seconds: float
    """From QEMU's start to its end."""
    output_seconds: float
    """From QEMU's start to the command's first output: about the boot time."""


class QemuDiedError(LabError):
    """QEMU ended in disorder, by status or, when that is negative, by signal."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{qemu.PROGRAM} ended with status {status}{f': {said}' if said else ''}")
        self.status = status


def run(
    kernel: Kernel,
    command: Sequence[str],
    *,
    out: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    write: Callable[[bytes], object] | None = None,
    environment: Mapping[str, str] | None = None,
    accelerator: str = "tcg",
    processors: int = qemu.Machine.processors,
    checkout: Path = transfer.CHECKOUT,
    disks: Sequence[Path] = (),
) -> GuestResult:
    """Run ``command`` in the checkout's copy inside a guest with ``kernel``.

    ``write`` takes the command's output as it comes (default: standard output), ``out`` what it left in /out, and
    the kernel's messages as ``console.log``; ``disks`` are further images, /dev/vde and so on, read-only.
    Raises LabError when the guest does not end within ``timeout`` seconds or dies; the kernel's last messages are
    part of the error.
    """
    preconditions.check(accelerator, qemu.Machine.memory_mib)
    with tempfile.TemporaryDirectory(prefix="kernelvm-") as scratch:
        folder = Path(scratch)
        machine = _machine(kernel, folder, accelerator, processors, disks)
        transfer.write_input(machine.input, checkout, command=command, environment=environment)
        console = folder / "console.log"
        try:
            seconds, first = _watch_from_the_start(machine, console, write or _to_stdout, timeout)
            status = transfer.read_output(machine.output, out)
        except LabError as error:
            raise LabError(f"kernel {kernel.name}: {error}; {_tail(console)}") from error
        finally:
            if out is not None and console.is_file():
                out.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(console, out / "console.log")
        return GuestResult(status, seconds, first)


def shell(kernel: Kernel, *, accelerator: str = "tcg", checkout: Path = transfer.CHECKOUT) -> int:
    """A root shell of a guest on this terminal; ends with the shell, or with Ctrl-A X. Returns its status."""
    preconditions.check(accelerator, qemu.Machine.memory_mib)
    with tempfile.TemporaryDirectory(prefix="kernelvm-") as scratch:
        machine = _machine(kernel, Path(scratch), accelerator, qemu.Machine.processors)
        transfer.write_input(machine.input, checkout, command=None)
        try:
            subprocess.run(qemu.command(machine, console=None), check=False)
        except OSError as error:
            raise LabError(f"cannot start {qemu.PROGRAM} ({error.strerror}); {_REMEDY}") from error
        try:
            return transfer.read_output(machine.output, None)
        except LabError:
            return 1  # the person ended QEMU, not the shell


def _machine(
    kernel: Kernel, folder: Path, accelerator: str, processors: int, disks: Sequence[Path] = ()
) -> qemu.Machine:
    output = folder / "out.tar"
    with output.open("wb") as file:
        file.truncate(OUTPUT_DISK_BYTES)
    return qemu.Machine(
        kernel=image.image(kernel),
        rootfs=rootfs.image(),
        input=folder / "in.tar",
        output=output,
        accelerator=accelerator,
        processors=processors,
        disks=tuple(disks),
    )


def _watch_from_the_start(
    machine: qemu.Machine, console: Path, write: Callable[[bytes], object], timeout: float
) -> tuple[float, float]:
    """As _watch; QEMU is started again when a signal ended it, or its kernel died, before the guest's session
    began."""
    for left in reversed(range(STARTS)):
        try:
            seconds = _watch(qemu.command(machine, console=console), write, timeout)
        except QemuDiedError as death:
            if death.status >= 0 or not left or _said(console, SESSION_BEGINS):
                raise
            problem = str(death)
        else:
            if not left or _said(console, SESSION_BEGINS) or not _said(console, _PANIC):
                return seconds
            problem = "the guest's kernel died"
        say(f"{problem}; the guest had not begun: starting it again, {left} more at most")
    raise AssertionError("unreachable: the last start returns or raises")


def _said(console: Path, words: str) -> bool:
    return console.is_file() and words in console.read_text(errors="replace")


def _watch(argv: Sequence[str], write: Callable[[bytes], object], timeout: float) -> tuple[float, float]:
    start, first = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as complaints, _start(argv, complaints.fileno()) as process:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(timeout, expire)
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            while chunk := os.read(process.stdout.fileno(), 65536):
                first = first or time.monotonic() - start
                write(chunk)
            process.wait()
        finally:
            timer.cancel()
            process.kill()
        if expired.is_set():
            raise LabError(f"the guest did not end within {timeout:g} s and was stopped")
        if process.returncode:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
            raise QemuDiedError(process.returncode, said)
    return time.monotonic() - start, first


def _start(argv: Sequence[str], stderr: int) -> subprocess.Popen[bytes]:
    # setpriv: the kernel ends the guest when this process ends, however it does.
    dying = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    if shutil.which(argv[0]) is None:
        raise LabError(f"{argv[0]} is not installed; {_REMEDY}")
    return subprocess.Popen(dying, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)


def _to_stdout(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _tail(console: Path) -> str:
    lines = console.read_text(errors="replace").splitlines()[-_CONSOLE_TAIL:] if console.is_file() else []
    return "the kernel's last messages:\n" + "\n".join(f"  {line}" for line in lines or ["(none)"])
