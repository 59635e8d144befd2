# SPDX-License-Identifier: Apache-2.0
"""The labs of this machine, and the removal of what crashed ones left behind.

Enters: the registry folder. Leaves: a locked directory for a new lab, the list of labs, the ids of labs that were
cleaned up. Guarantees: a lab whose driver runs is never touched. Its directory ``/run/traffic-footprint-lab/ID/``
has a file ``lock``, which the driver holds with flock(2). The kernel frees the lock however the driver ends. So a
free lock proves that the driver is gone.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.machine import leftovers
from lab.network import netns

ROOT: Final = Path("/run/traffic-footprint-lab")
_ID: Final = re.compile(r"[0-9a-f]{4,6}")


def namespace_prefix(lab_id: str) -> str:
    """The beginning of the names of all network namespaces of a lab."""
    return f"tf-{lab_id}-"


@dataclass(frozen=True)
class LabState:
    """A lab's directory, locked by this process until ``release``."""

    id: str
    dir: Path
    _lock: int

    def release(self) -> None:
        """Remove the directory and free the lock: the lab no longer exists."""
        shutil.rmtree(self.dir, ignore_errors=True)
        os.close(self._lock)


@dataclass(frozen=True)
class LabEntry:
    """A lab in the registry, of this process or another."""

    id: str
    dir: Path
    live: bool
    """Whether its driver runs, which means that its lock is held."""


def create(root: Path = ROOT) -> LabState:
    """A new lab's directory, its lock held. Raises LabError when ``root`` cannot be written."""
    with _registry(root):
        while True:
            lab_id = secrets.token_hex(2)
            directory = root / lab_id
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                continue
            lock = _try_lock(directory)
            if lock is None:  # impossible: this process holds the registry, and the directory is new
                raise LabError(f"{directory} is locked by another process; run `python -m lab list`")
            return LabState(lab_id, directory, lock)


def entries(root: Path = ROOT) -> list[LabEntry]:
    """Every lab that has a directory, whether its driver runs or not."""
    found: list[LabEntry] = []
    if not root.is_dir():
        return found
    with _registry(root):
        for directory in _directories(root):
            lock = _try_lock(directory)
            if lock is not None:
                os.close(lock)
            found.append(LabEntry(directory.name, directory, live=lock is None))
    return found


def any_live(root: Path = ROOT) -> bool:
    """Whether the driver of any lab runs."""
    return any(entry.live for entry in entries(root))


def clean_leftovers(root: Path = ROOT, remove_namespaces: Callable[[str], None] | None = None) -> list[str]:
    """Remove the processes, namespaces and directories of labs whose driver is gone. Returns their ids.

    ``remove_namespaces`` gets the prefix of a lab's namespaces. It removes them and ends every process inside. The
    default does so on this machine. Where it raises, the directory stays, so that the next start tries again.
    """
    remove = remove_namespaces or _remove_namespaces
    cleaned: list[str] = []
    if not root.is_dir():
        return cleaned
    with _registry(root):
        for directory in _directories(root):
            lock = _try_lock(directory)
            if lock is None:
                continue
            try:
                remove(namespace_prefix(directory.name))
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)
            cleaned.append(directory.name)
    return cleaned


def _directories(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and _ID.fullmatch(p.name))


def _remove_namespaces(prefix: str) -> None:
    leftovers.remove(prefix)
    netns.delete_all(netns.list_names(prefix))


@contextmanager
def _registry(root: Path) -> Iterator[None]:
    """Hold the registry's lock: no other driver sees a new directory before it is locked. Raises LabError."""
    try:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(root / "registry.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LabError(f"cannot write {root}: {error.strerror}; the lab needs root") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _try_lock(directory: Path) -> int | None:
    """The descriptor that holds the lab's lock, or None when another process holds it. Raises LabError."""
    try:
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LabError(f"cannot open the lock of {directory}: {error.strerror}; the lab needs root") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
