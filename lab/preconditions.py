# SPDX-License-Identifier: Apache-2.0
"""What a lab needs of the machine: root, a few programs, and connection tracking in the kernel.

Guarantees: what is missing becomes one LabError of one line that names the remedy, before anything is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.errors import LabError

TOOLS: Final = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "setpriv": "util-linux",
}
"""Program → Debian package. (Go is asked for only when the control plane has to be built.)"""

MODULES: Final = ("nf_conntrack", "nf_conntrack_netlink")
"""Connection tracking and its view from user space, where the kernel has them as modules."""


def check() -> None:
    """Raise LabError naming what is missing and how to get it."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, which only root may; run it as root (sudo -E ...)")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise LabError(f"not installed: {', '.join(missing)}; run `apt-get install -y {packages}`")


def load_modules() -> str:
    """Load MODULES; why they could not be, empty when they were."""
    argv = ["modprobe", "-a", *MODULES]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "; ".join(done.stderr.strip().splitlines()) if done.returncode else ""


def conntrack(proc: Path = Path("/proc"), load: Callable[[], str] = load_modules) -> None:
    """The kernel tracks connections, or does so now. Raises LabError when there is no getting it to."""
    tracked = proc / "sys/net/netfilter/nf_conntrack_count"
    if tracked.exists():
        return
    problem = load()
    if not tracked.exists():
        reason = problem or f"{tracked} is absent"
        raise LabError(
            f"this kernel tracks no connections ({reason}), so nothing can be measured; "
            f"run `modprobe -a {' '.join(MODULES)}` as root where modules may be loaded"
        )
