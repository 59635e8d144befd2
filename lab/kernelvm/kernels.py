# SPDX-License-Identifier: Apache-2.0
"""Which kernels can be booted, and the distribution packages they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab.errors import LabError


@dataclass(frozen=True)
class Kernel:
    """One bootable kernel: its short name and the package that depends on the newest build of it."""

    name: str
    package: str


KERNELS: Final = (
    Kernel("6.1", "linux-image-cloud-amd64"),
    Kernel("6.12", "linux-image-6.12-cloud-amd64"),
)
"""Two sides of a change: `__nf_ct_refresh_acct` takes other arguments in 6.12.113 and later than in 6.1."""

SUITE: Final = "bookworm"
"""Debian 12: the release both kernels are packaged for, and the one the project's Python binary wheels fit."""


def by_name(name: str) -> Kernel:
    """The kernel called ``name``. Raises LabError naming those that exist."""
    for kernel in KERNELS:
        if kernel.name == name:
            return kernel
    raise LabError(f"there is no kernel {name!r} here; choose one of {', '.join(k.name for k in KERNELS)}")
