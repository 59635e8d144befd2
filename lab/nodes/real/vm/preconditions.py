# SPDX-License-Identifier: Apache-2.0
"""What nodes in virtual machines need beside what every real node needs; else one clear line.

Enters: names of kernels. Leaves: nothing, or LabError with the fact, the consequence and the remedy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.kernelvm import qemu
from lab.kernelvm.kernels import by_name

MOST: Final = 2
"""Three starve each other on two cores: their schedulers and kubelets miss their deadlines."""
MEMORY: Final = 1536 * 2**20
"""Bytes of one: the guest's own GiB, QEMU's translated code and QEMU."""
DISK: Final = 3 * 2**30
"""Bytes that one writes: the images it begins with, layers, logs."""
TOOLS: Final = (qemu.PROGRAM, "mmdebstrap", "mksquashfs", "depmod", "mkfs.ext4")
_TUN: Final = Path("/dev/net/tun")


def check_kernels(names: Sequence[str]) -> None:
    """Raise LabError for kernels that there are not, and for more nodes than can be."""
    if len(names) > MOST:
        raise LabError(
            f"{len(names)} nodes in virtual machines: an emulated processor takes a core of this machine, "
            f"and more than {MOST} starve each other; give --vm {MOST} times at most"
        )
    for name in names:
        by_name(name)


def check(tun: Path = _TUN) -> None:
    """Raise LabError naming what is missing and how to get it."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise LabError(
            f"nodes in virtual machines need {', '.join(missing)}; run `lab/setup/packages.sh kernelvm` as root"
        )
    try:
        os.close(os.open(tun, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise LabError(
            f"{tun} cannot be opened ({error.strerror}), and a virtual machine is on the lab's network by it; "
            "load the module (`modprobe tun`), or give the container the device (--device /dev/net/tun)"
        ) from error
