# SPDX-License-Identifier: Apache-2.0
"""Compiled programs, remembered for the processes of one guest.

A compilation takes an emulated processor half a minute, and a session starts dozens of agents. ``programs.py``, on
the machine outside, compiles what they need, for the types of the guest's kernel, and hands it in. What was not
handed in is compiled by the first that asks for it, as any agent does; the others load the same instructions.
Scenarios that are about compiling do not use this.
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
TYPES: Final = FOLDER / "types.json"
"""Digests of the types for which the programs that were handed in were compiled."""
PATIENCE: Final = 900.0
"""Seconds for one compilation: the agent's own limit is for real processors."""


def be_patient() -> None:
    """Let this process's compilations take as long as they may here."""
    building.TIMEOUT = PATIENCE  # type: ignore[misc]


def remember(damaged: Callable[[Build], Build] = lambda made: made) -> None:
    """From now on this process asks the folder before the compiler; it gets what is found ``damaged``."""
    be_patient()

    def found(request: BuildRequest) -> Build:
        return damaged(build(request))

    loader.build = cgroup.build = preflight.build = found  # type: ignore[attr-defined]


def build(request: BuildRequest) -> Build:
    """What was handed in or compiled before, else compiled now."""
    kept = place(request)
    if not kept.exists():
        FOLDER.mkdir(exist_ok=True)
        kept.write_bytes(pickle.dumps(building.build(request)))
    made: Build = pickle.loads(kept.read_bytes())  # noqa: S301 - written above, or by programs.py
    return made


def share(mode: Mode, sources: Path) -> None:
    """``sources`` differ from the project's in nothing that is compiled: the program is the same."""
    build(BuildRequest(mode))
    shutil.copyfile(place(BuildRequest(mode)), place(BuildRequest(mode, sources=sources)))


def place(request: BuildRequest) -> Path:
    """The file that holds the program."""
    asked = (request.mode, sorted(request.without), sorted(request.defines.items()), request.file)
    return FOLDER / sha256(repr((asked, fingerprint(request.sources))).encode()).hexdigest()


def digests(types: Path) -> dict[str, str]:
    """Of the kernel's types and conntrack's, in a folder like /sys/kernel/btf."""
    return {name: sha256((types / name).read_bytes()).hexdigest() for name in ("vmlinux", "nf_conntrack")}
