# SPDX-License-Identifier: Apache-2.0
"""Compiled programs, remembered for the processes of one guest.

A compilation takes an emulated processor half a minute, and a session starts a dozen agents. The first that asks
for a program has it compiled as any agent does; the others load the same instructions. Scenarios in which the
compiling itself goes wrong do not use this.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from nodeagent.sources.cgroup import loader as cgroup
from nodeagent.sources.ebpf import loader, preflight
from nodeagent.sources.ebpf.compiling import build as building
from nodeagent.sources.ebpf.compiling.build import Build, BuildRequest, fingerprint
from nodeagent.sources.ebpf.compiling.hooks import Mode

FOLDER: Final = Path("/tmp/traffic-footprint-builds")  # noqa: S108 - a guest has one user and one life
PATIENCE: Final = 900.0
"""Seconds for one compilation: the agent's own limit is for real processors."""


def be_patient() -> None:
    """Let this process's compilations take as long as they may here."""
    building.TIMEOUT = PATIENCE  # type: ignore[misc]


def remember(damaged: Callable[[Build], Build] = lambda made: made) -> None:
    """From now on this process asks the folder before the compiler; it gets what is found ``damaged``."""
    be_patient()
    compile_now = building.build

    def build(request: BuildRequest) -> Build:
        kept = _place(request)
        if not kept.exists():
            FOLDER.mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps(compile_now(request)))
        return damaged(pickle.loads(kept.read_bytes()))  # noqa: S301 - written above

    loader.build = cgroup.build = preflight.build = build  # type: ignore[attr-defined]


def share(mode: Mode, sources: Path) -> None:
    """``sources`` differ from the project's in nothing that is compiled: the program is the same."""
    loader.build(BuildRequest(mode))  # type: ignore[attr-defined]
    shutil.copyfile(_place(BuildRequest(mode)), _place(BuildRequest(mode, sources=sources)))


def _place(request: BuildRequest) -> Path:
    asked = (request.mode, sorted(request.without), sorted(request.defines.items()), request.file)
    return FOLDER / sha256(repr((asked, fingerprint(request.sources))).encode()).hexdigest()
