"""What a lab needs of the machine before anything is started: root and a few programs; else one clear line."""

from __future__ import annotations

import os
import shutil
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


def check() -> None:
    """Raise LabError naming what is missing and how to get it."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, which only root may; run it as root (sudo -E ...)")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise LabError(f"not installed: {', '.join(missing)}; run `apt-get install -y {packages}`")
