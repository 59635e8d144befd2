# SPDX-License-Identifier: Apache-2.0
"""Which labs exist on this machine, and what crashed ones left behind.

Each lab has a directory ``/run/traffic-footprint-lab/<id>/`` whose ``lock`` file is flocked for the life of its
driver: the kernel frees the lock however the driver ends, so a free lock is proof that the lab is dead. A lab
whose lock is held is never touched.
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

ROOT: Final = Path("/run/traffic-footprint-lab")
_ID: Final = re.compile(r"[0-9a-f]{4,6}")


def namespace_prefix(lab_id: str) -> str:
    """What the names of all network namespaces of a lab begin with."""
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
    """A lab as seen from outside."""

    id: str
    dir: Path
    live: bool
    """Its driver runs (its lock is held)."""


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
            if lock is None:  # cannot be: the registry is ours and the directory is new
                raise LabError(f"{directory} is locked by another process; run `python -m lab list`")
            return LabState(lab_id, directory, lock)


def entries(root: Path = ROOT) -> list[LabEntry]:
    """Every lab that has a directory, live or not."""
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


def clean_leftovers(root: Path = ROOT, remove_namespaces: Callable[[str], None] | None = None) -> list[str]:
    """Remove what crashed labs left: their processes, their namespaces, their directories. Returns their ids.

    ``remove_namespaces`` takes the prefix of a dead lab's namespaces and removes these with every process inside
    (default: the real ones of this machine).
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
    from lab.network import netns  # noqa: PLC0415 - the registry itself needs no fabric

    netns.delete_all(netns.list_names(prefix))


@contextmanager
def _registry(root: Path) -> Iterator[None]:
    """Exclude other drivers while labs are made or removed, so that none is judged between mkdir and lock."""
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
    """The descriptor that holds the lab's lock, or None when somebody else does."""
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
