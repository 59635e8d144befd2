# SPDX-License-Identifier: Apache-2.0
"""The base image's file system, bootstrapped from the distribution's packages: no registry is asked.

Leaves: ``base.tar`` in the cache. It is the minimal variant without manuals, as registries serve it under the same
name, but for small differences.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.kernelvm import cache, packages
from lab.kernelvm.kernels import SUITE
from lab.kernelvm.progress import run, say

AREA: Final = "images"
NAME: Final = f"docker.io/library/debian:{SUITE}-slim"
"""As the Dockerfile names it."""
KEPT: Final = 2
"""How many of a kind the cache keeps at least ..."""
IN_USE: Final = 2 * 3600.0
"""... those that were asked for within so many seconds besides: another checkout's lab may run from them ..."""
MOST: Final = 8
"""... and how many at most."""
FORMAT: Final = 1
"""Raise when the way of bootstrapping changes."""
REMEDY: Final = "run `lab/setup/packages.sh images` as root; Debian's mirror and PyPI must be reachable"
_MERGED_USR: Final = Path("/usr/share/mmdebstrap/hooks/merged-usr")
_MONTH: Final = 30 * 86400.0


def tar() -> Path:
    """The archive. It is made when the cache lacks it, which takes half a minute, and anew each month. Raises
    LabError."""
    if os.geteuid() != 0:
        raise LabError("images are built by root only: a build changes owners and root directories; use sudo -E")
    sources = packages.sources() + "\n"
    inputs = {"format": FORMAT, "suite": SUITE, "sources": sources, "month": int(time.time() // _MONTH)}

    def build(place: Path) -> None:
        prune("base", place)
        say(f"bootstrapping {NAME} from the distribution's packages", area=AREA)
        listed = place / "sources.list"
        listed.write_text(sources)
        command = mmdebstrap(listed, place / "base.tar")
        run(command, "installing the base's packages", remedy=REMEDY, area=AREA)

    return cache.built("base", inputs, build, area=AREA) / "base.tar"


def prune(kind: str, scratch: Path) -> None:
    """Make room for ``scratch``: remove what killed builds of ``kind`` left, and results beyond the ``KEPT`` used
    last that are no longer ``IN_USE``.

    Call it from within a build, which holds the lock.
    """
    for left in scratch.parent.glob(f".{kind}-*"):
        if left != scratch:
            shutil.rmtree(left, ignore_errors=True)
    now = time.time()
    used = {path: path.stat().st_mtime for path in scratch.parent.glob(f"{kind}-*")}  # cache.built says when
    latest_first = sorted(used, key=lambda path: used[path], reverse=True)
    for place, old in enumerate(latest_first, start=2):  # the scratch will be the first
        if place > (MOST if now - used[old] < IN_USE else KEPT):
            shutil.rmtree(old, ignore_errors=True)


def mmdebstrap(sources: Path, target: Path) -> list[str]:
    """The command. ``usr-is-merged``: the package it stands in for would bring all of Perl."""
    return [
        "mmdebstrap", "--variant=minbase", "--mode=root",
        "--include=usr-is-merged", f"--hook-dir={_MERGED_USR}",
        *(f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "info", "locale", "man")),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        # These two describe this machine, not the image.
        '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
        SUITE, str(target), str(sources),
    ]  # fmt: skip
