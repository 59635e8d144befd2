# SPDX-License-Identifier: Apache-2.0
"""Find the programs of the control plane: installed ones whose versions fit, else those built earlier.

Enters: $KUBEBUILDER_ASSETS, PATH, the cache. Leaves: a path for each program. Guarantees: a program is used only
when it reports the pinned Kubernetes minor version (kubectl: at most one minor off, as Kubernetes supports; etcd:
the pinned major and minor). ``lab.controlplane.build`` builds what is missing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.controlplane.pins import HELM, KUBECTL, Module, Version, parse_version

_VERSION_TIMEOUT: Final = 20.0
_VERSION_ARGUMENTS: Final = {
    KUBECTL: ("version", "--client"),
    HELM: ("version", "--short"),
    "containerd-shim-runc-v2": ("-v",),
}


@dataclass(frozen=True)
class Found:
    """A program and where it comes from."""

    path: Path
    version: Version
    origin: str
    """The environment variable that named its folder, such as ``PATH``, or ``built``."""


@dataclass(frozen=True)
class Refused:
    """A program at hand that does not fit, and why."""

    path: Path
    reason: str


def fits(program: str, version: Version, pinned: Version) -> bool:
    """Whether ``version`` of ``program`` may stand in for ``pinned``."""
    if version.major != pinned.major:
        return False
    return abs(version.minor - pinned.minor) <= (1 if program == KUBECTL else 0)


def version_of(program: str, path: Path) -> Version | None:
    """The version that ``path`` reports; None when it cannot be run or reports none."""
    arguments = _VERSION_ARGUMENTS.get(program, ("--version",))
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=_VERSION_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # CNI plugins write it to standard error.
    return parse_version(done.stdout or done.stderr) if done.returncode == 0 else None


def candidates(program: str, search: str = "PATH") -> Iterator[tuple[str, Path]]:
    """(origin, path) of every executable ``program`` at hand, in the order of preference. ``search`` is the
    environment variable that lists the folders."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [("KUBEBUILDER_ASSETS", assets)] if assets else []
    folders += [(search, folder) for folder in os.environ.get(search, "").split(os.pathsep) if folder]
    for origin, folder in folders:
        path = Path(folder) / program
        if path.is_file() and os.access(path, os.X_OK):
            yield origin, path


def at_hand(program: str, pinned: Version, search: str = "PATH") -> tuple[Found | None, list[Refused]]:
    """The first fitting ``program`` at hand, and those passed over."""
    refused: list[Refused] = []
    for origin, path in candidates(program, search):
        version = version_of(program, path)
        if version is None:
            refused.append(Refused(path, "does not state its version"))
        elif not fits(program, version, pinned):
            refused.append(Refused(path, f"is version {version}, pinned is {pinned}"))
        else:
            return Found(path, version, origin), refused
    return None, refused


def locate(module: Module) -> tuple[dict[str, Found], list[Refused]]:
    """The programs of ``module`` that need no build (at hand, or in the cache), and those passed over."""
    found: dict[str, Found] = {}
    refused: list[Refused] = []
    for program, _ in module.packages:
        fitting, others = at_hand(program, module.version, module.search)
        refused += others
        if fitting is None and (built := module.cache / program).is_file():
            fitting = Found(built, module.version, "built")
        if fitting is not None:
            found[program] = fitting
    return found, refused
