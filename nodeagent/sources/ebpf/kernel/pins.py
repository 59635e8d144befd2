# SPDX-License-Identifier: Apache-2.0
"""Pins: maps and hooks that outlive the agent, so that a restart loses no flow.

Enters: descriptors. Leaves: names under /sys/fs/bpf/traffic-footprint/INODE, and descriptors again. INODE is
that of the network namespace that is measured. Effects only. Where nothing can be pinned, a restart begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nodeagent.sources.ebpf.kernel import bpf

ROOT: Final = Path("/sys/fs/bpf/traffic-footprint")
_LINK: Final = "link-"
_PROGRAM: Final = "program-"


def directory(netns: int, root: Path = ROOT) -> Path:
    return root / str(netns)


@dataclass(frozen=True, slots=True)
class Pinned:
    """Descriptors of what is kept."""

    maps: Mapping[str, int]
    links: Mapping[str, int]
    """Attached hooks by role ..."""
    programs: Mapping[str, int]
    """... and their programs, which count how often the kernel skipped them. Without CAP_SYS_ADMIN the kernel does
    not give a program to a holder of its link."""

    def close(self) -> None:
        for fd in (*self.maps.values(), *self.links.values(), *self.programs.values()):
            os.close(fd)


def pin_all(path: Path, pinned: Pinned) -> None:
    """Pin everything, or nothing. Raises OSError."""
    discard(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, fd in pinned.maps.items():
            bpf.pin(fd, path / name)
        for name, fd in pinned.programs.items():
            bpf.pin(fd, path / f"{_PROGRAM}{name}")
        for name, fd in pinned.links.items():
            bpf.pin(fd, path / f"{_LINK}{name}")
    except OSError:
        discard(path)
        raise


def open_all(path: Path, maps: Iterable[str]) -> Pinned:
    """Descriptors of the maps named, and of every hook and program there is. Raises OSError when a map is
    missing."""
    found: dict[str, int] = {}
    links: dict[str, int] = {}
    programs: dict[str, int] = {}
    opened = Pinned(found, links, programs)
    try:
        for name in maps:
            found[name] = bpf.open_pinned(path / name)
        for prefix, kept in ((_LINK, links), (_PROGRAM, programs)):
            for pinned in sorted(path.glob(f"{prefix}*")):
                kept[pinned.name.removeprefix(prefix)] = bpf.open_pinned(pinned)
    except OSError:
        opened.close()
        raise
    return opened


def discard_all(root: Path = ROOT) -> tuple[list[Path], list[Path]]:
    """Unpin the programs of every network namespace: the directories that are gone, and those that could not be
    removed. Raises OSError when ``root`` cannot be read."""
    found = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    for path in found:
        discard(path)
    return [path for path in found if not path.exists()], [path for path in found if path.exists()]


def discard(path: Path) -> None:
    """Unpin; the kernel frees what no process holds. Hooks go first, so that none counts into freed maps."""
    if not path.is_dir():
        return
    for pinned in sorted(path.iterdir(), key=lambda entry: not entry.name.startswith(_LINK)):
        with suppress(OSError):
            pinned.unlink()
    with suppress(OSError):
        path.rmdir()
    with suppress(OSError):
        path.parent.rmdir()
