"""Maps and hooks that outlive the agent, so that a restart loses no flow.

In: descriptors. Out: names under /sys/fs/bpf/traffic-footprint/INODE (of the network namespace that is measured),
and descriptors again. Effects only. What cannot be pinned is not adopted later; nothing else changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from nodeagent.sources.ebpf import bpf

ROOT: Final = Path("/sys/fs/bpf/traffic-footprint")
_LINK: Final = "link-"


def directory(netns: int, root: Path = ROOT) -> Path:
    return root / str(netns)


def pin_all(path: Path, maps: Mapping[str, int], links: Mapping[str, int]) -> None:
    """Pin everything, or nothing. Raises OSError."""
    discard(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, fd in maps.items():
            bpf.pin(fd, path / name)
        for name, fd in links.items():
            bpf.pin(fd, path / f"{_LINK}{name}")
    except OSError:
        discard(path)
        raise


def open_all(path: Path, maps: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Descriptors of the maps named and of every hook. Raises OSError when any is missing."""
    found: dict[str, int] = {}
    links: dict[str, int] = {}
    try:
        for name in maps:
            found[name] = bpf.open_pinned(path / name)
        for pinned in sorted(path.glob(f"{_LINK}*")):
            links[pinned.name.removeprefix(_LINK)] = bpf.open_pinned(pinned)
        if not links:
            raise FileNotFoundError(2, "no hook is pinned", str(path))
    except OSError:
        for fd in (*found.values(), *links.values()):
            os.close(fd)
        raise
    return found, links


def discard(path: Path) -> None:
    """Unpin: what nobody holds is gone then. Hooks first, so that nothing counts into maps that are going."""
    if not path.is_dir():
        return
    for pinned in sorted(path.iterdir(), key=lambda entry: not entry.name.startswith(_LINK)):
        with suppress(OSError):
            pinned.unlink()
    with suppress(OSError):
        path.rmdir()
    with suppress(OSError):
        path.parent.rmdir()
