# SPDX-License-Identifier: Apache-2.0
"""Which of them, at which versions. Enters: nothing. Leaves: Modules for ``lab.controlplane.build.ensure``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.controlplane.pins import Module

HERE: Final = Path(__file__).parent

KREW: Final = "krew"
_KREW: Final = "sigs.k8s.io/krew"

KREW_MODULE: Final = Module(
    "krew", _KREW, ((KREW, f"{_KREW}/cmd/krew"),), "about 20 seconds on two cores, once", parent=HERE,
    stamps=(f"{_KREW}/internal/version.gitTag=v{{version}}", f"{_KREW}/internal/version.gitCommit=none"),
)  # fmt: skip
"""It installs ``kubectl footprint`` from an archive."""
