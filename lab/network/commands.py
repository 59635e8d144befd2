# SPDX-License-Identifier: Apache-2.0
"""iproute2 and nftables, one program start for many commands.

Enters: scripts as text. Leaves: their effect inside one namespace. Guarantees: a failing line raises CommandError
with the tool's own message and that line.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.network import netns

SYSCTLS: Final = Path("/proc/sys/net")


class CommandError(LabError):
    """A network command failed; the message holds the tool's complaint."""


def ip_batch(namespace: str, script: str, *, force: bool = False) -> None:
    """Run ``ip`` subcommands, one a line, inside ``namespace``; ``force`` goes on after a failing line."""
    # Entering here rather than by `ip -n`, which would make a mount namespace too: slower, and namespaces that the
    # script adds would be seen by nobody else.
    with netns.entered(namespace):
        _run(["ip", *(["-force"] if force else []), "-batch", "-"], script, tolerate=force)


def tc_batch(namespace: str, script: str) -> None:
    """Run ``tc`` subcommands, one a line, inside ``namespace``."""
    with netns.entered(namespace):
        _run(["tc", "-batch", "-"], script)


def nft(namespace: str, script: str) -> None:
    """Apply an nft script as one transaction inside ``namespace``."""
    with netns.entered(namespace):
        _run(["nft", "-f", "-"], script)


def sysctl(namespace: str, settings: Mapping[str, str | Sequence[str]], *, optional: bool = False) -> None:
    """Write ``/proc/sys/net`` settings (paths below it) in ``namespace``; of several values the first allowed.

    ``optional`` passes over settings that this kernel does not have.
    """
    with netns.entered(namespace):
        for path, values in settings.items():
            if optional and not (SYSCTLS / path).exists():
                continue
            choices = [values] if isinstance(values, str) else values
            refusal = ""
            for value in choices:
                refusal = _write(path, value)
                if not refusal:
                    break
            if refusal:
                raise CommandError(f"net/{path}={' or '.join(choices)} in {namespace}: {refusal}")


def run(argv: Sequence[str]) -> None:
    """Run a command in this thread's namespace. Raises CommandError."""
    _run(list(argv), "")


def _write(path: str, value: str) -> str:
    """Why it was refused; empty when it was not."""
    try:
        with (SYSCTLS / path).open("r+") as file:  # never makes a file
            file.write(value)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _run(argv: list[str], script: str, *, tolerate: bool = False) -> None:
    done = subprocess.run(argv, input=script, text=True, capture_output=True, check=False)
    if done.returncode and not tolerate:
        raise CommandError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
