# SPDX-License-Identifier: Apache-2.0
"""What a guest needs of this machine, asked before anything is built or started; else one clear line.

Enters: the accelerator, and the guest's memory. Leaves: nothing, or LabError with the fact, the consequence and
the remedy.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.kernelvm import qemu
from lab.machine.room import available_memory

OWN_MEMORY: Final = 512 * 2**20
"""Bytes of QEMU beside its guest's: translated code, devices."""
_KVM: Final = Path("/dev/kvm")


def check(accelerator: str, memory_mib: int, device: Path = _KVM) -> None:
    """Raise LabError naming what is missing and how to get it."""
    if shutil.which(qemu.PROGRAM) is None:
        raise LabError(
            f"{qemu.PROGRAM} is not installed, and kernels of their own run in it; "
            "run `lab/setup/packages.sh kernelvm` as root"
        )
    if accelerator == "kvm":
        _open(device)
    wanted, free = memory_mib * 2**20 + OWN_MEMORY, available_memory()
    if free < wanted:
        raise LabError(
            f"a guest takes about {wanted / 2**30:.1f} GiB of memory and {free / 2**30:.1f} are available; "
            "end what takes the memory"
        )


def _open(device: Path) -> None:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise LabError(
            f"{device} cannot be opened ({error.strerror}), and the accelerator kvm needs it; "
            "use tcg, which works everywhere, or give the container the device (--device /dev/kvm)"
        ) from error
