# SPDX-License-Identifier: Apache-2.0
"""BTF of the running kernel and of its modules, as the kernel publishes it in /sys/kernel/btf."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nodeagent.sources.ebpf.btf.blob import BtfError, Reason
from nodeagent.sources.ebpf.btf.types import Btf

DIRECTORY: Final = Path("/sys/kernel/btf")
VMLINUX: Final = "vmlinux"


def load_kernel(directory: Path = DIRECTORY) -> Btf:
    """The kernel's own types. Raises BtfError when the kernel publishes none."""
    return Btf(_read(directory / VMLINUX))


def load_module(name: str, base: Btf, directory: Path = DIRECTORY) -> Btf | None:
    """Types of a module on top of ``base``; None when it has no BTF of its own (built in, or absent)."""
    path = directory / name
    return Btf(_read(path), base) if path.exists() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BtfError(Reason.MISSING, f"{path} cannot be read ({error.strerror})") from error
