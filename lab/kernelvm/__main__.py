# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.kernelvm``: prepare kernels, run a command on one, or a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.kernelvm import image, preconditions, qemu, rootfs, vm
from lab.kernelvm.kernels import KERNELS, by_name
from lab.kernelvm.progress import say

TIMED_OUT_OR_DIED = 3


def main(argv: Sequence[str] | None = None) -> int:
    """The command's status; 2 when the request cannot be met, 3 when the guest died or took too long."""
    arguments = _parser().parse_args(argv)
    try:
        kernels = [by_name(arguments.kernel)] if arguments.kernel else list(KERNELS)
        if arguments.action != "prepare":
            preconditions.check(arguments.accel, qemu.Machine.memory_mib)
        rootfs.image()
        images = [image.image(kernel) for kernel in kernels]
        if arguments.action == "prepare":
            for prepared in images:
                print(prepared.package)
            return 0
        if arguments.action == "shell":
            say("booting; the shell ends with `exit`, the machine with Ctrl-A X")
            return vm.shell(kernels[0], accelerator=arguments.accel)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        result = vm.run(
            kernels[0],
            arguments.command,
            out=arguments.out,
            timeout=arguments.timeout,
            accelerator=arguments.accel,
        )
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return TIMED_OUT_OR_DIED
    say(f"status {result.status} after {result.seconds:.0f} s, first output after {result.output_seconds:.0f} s")
    return result.status


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(kernel.name for kernel in KERNELS)
    parser = argparse.ArgumentParser(prog="python -m lab.kernelvm", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="build what booting needs, and name the kernels' packages")
    prepare.add_argument("--kernel", help=f"one of {names} (default: all)")
    run = actions.add_parser("run", help="run a command as root in a guest's copy of the checkout, /work")
    run.add_argument(
        "--timeout", type=float, default=vm.DEFAULT_TIMEOUT, help="seconds for the guest's whole life"
    )
    run.add_argument("--out", type=Path, help="folder that takes the files left in /out, and the console's log")
    run.add_argument("command", nargs="+", metavar="-- COMMAND", help="the command and its arguments")
    shell = actions.add_parser("shell", help="a root shell on this terminal")
    for action in (run, shell):
        action.add_argument("--kernel", required=True, help=f"one of {names}")
        action.add_argument(
            "--accel", choices=qemu.ACCELERATORS, default="tcg",
            help="tcg: emulation (default); counted: its clock counts instructions; kvm: where that works",
        )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
