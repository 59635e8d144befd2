# SPDX-License-Identifier: Apache-2.0
"""The folder of compiled programs on the node: an agent that starts again does not compile again.

Enters: a key and the compiler's answer. Leaves: the answer of an earlier process, or None. Effects: files in one
folder that somebody else has made; without it, or where it cannot be written, every start compiles. Whatever lies
there is believed only if nobody but this user could have put it there. A file that is not is refused by name,
counted, and replaced.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from nodeagent.sources.ebpf.compiling.objects import MAX_BYTES, ObjectRefused, Refusal, decode, encode

_log = structlog.get_logger(__name__)

DIRECTORY: Final = Path("/var/lib/traffic-footprint")
"""On the node. It outlives a reboot, after which nothing is pinned and most agents would compile at once."""
KEPT: Final = 8
"""Files that stay: two ways to attach, for a kernel and its successor, and for an agent and its successor."""
FOUND: Final = "found"
COMPILED: Final = "compiled"
NOT_KEPT: Final = "not-kept"
OUTCOMES: Final = (FOUND, COMPILED, NOT_KEPT, *(refusal.value for refusal in Refusal))
counts: Final[Counter[str]] = Counter()
"""How often each of ``OUTCOMES`` came about in this process."""

_NAME: Final = re.compile(r"[0-9a-f]{64}\.(object|partial)")
_MAX_LISTED: Final = 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def find(folder: Path, key: bytes) -> bytes | None:
    """What was kept under ``key``; None when there is nothing that can be used."""
    try:
        with _opened(folder) as directory:
            return decode(key, _read(directory, _name(key)))
    except FileNotFoundError:
        return None
    except ObjectRefused as refused:
        refuse(folder, key, refused)
    except OSError as error:
        refuse(folder, key, ObjectRefused(Refusal.UNREADABLE, error.strerror or str(error)))
    return None


def refuse(folder: Path, key: bytes, refused: ObjectRefused) -> None:
    """Say and count why what is kept under ``key`` is not used."""
    counts[refused.refusal.value] += 1
    _log.warning(
        "a kept program is not used; compiling instead",
        file=str(folder / _name(key)), reason=refused.refusal.value, problem=str(refused),
    )  # fmt: skip


def keep(folder: Path, key: bytes, content: bytes) -> None:
    """Put it there in one step, and let the oldest go. Where that cannot be done, the next start compiles too."""
    try:
        with _opened(folder) as directory:
            _write(directory, _name(key), encode(key, content))
            _prune(directory)
    except FileNotFoundError:
        return  # no folder: nobody asked for it
    except (OSError, ValueError, ObjectRefused) as error:
        counts[NOT_KEPT] += 1
        _log.info(
            "the next start will compile again: the program cannot be kept", folder=str(folder), problem=str(error)
        )


def forget(folder: Path, key: bytes) -> None:
    """Remove what is kept under ``key``, if that can be done."""
    with suppress(OSError, ObjectRefused), _opened(folder) as directory:
        os.unlink(_name(key), dir_fd=directory)


def discard_all(folder: Path = DIRECTORY) -> tuple[list[Path], list[Path]]:
    """Remove every program: the files that are gone, and those that could not be removed. Other files stay. Raises
    OSError when the folder cannot be read."""
    gone: list[Path] = []
    left: list[Path] = []
    try:
        directory = os.open(folder, _FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return gone, left
    try:
        for _, name in _listed(directory):
            try:
                os.unlink(name, dir_fd=directory)
                gone.append(folder / name)
            except OSError:
                left.append(folder / name)
    finally:
        os.close(directory)
    return gone, left


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder's descriptor. Raises ObjectRefused for one that others could have written to."""
    try:
        directory = os.open(folder, _FOLDER)
    except NotADirectoryError as error:
        raise ObjectRefused(Refusal.NOT_A_FILE, f"{folder} is no folder, or a link") from error
    try:
        _judge(os.fstat(directory), _OTHERS_WRITE, "the folder")
        yield directory
    finally:
        os.close(directory)


def _judge(found: os.stat_result, forbidden: int, what: str) -> None:
    """Raises ObjectRefused when anybody but this user or root has a say in it."""
    if found.st_uid not in (0, os.geteuid()):
        raise ObjectRefused(Refusal.OWNER, f"{what} belongs to user {found.st_uid}")
    if found.st_mode & forbidden:
        raise ObjectRefused(Refusal.PERMISSIONS, f"{what} has mode {stat.S_IMODE(found.st_mode):04o}")


def _read(directory: int, name: str) -> bytes:
    try:
        file = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        with suppress(OSError):
            if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise ObjectRefused(Refusal.NOT_A_FILE, "it is no regular file") from error
        raise
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # none: replaced just now
            raise ObjectRefused(Refusal.NOT_A_FILE, "it is no regular file with one name")
        _judge(found, _OTHERS, "the file")
        content = os.read(file, MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ObjectRefused(Refusal.TOO_LARGE, f"it has {found.st_size} bytes; {MAX_BYTES} are allowed")
    finally:
        os.close(file)
    with suppress(OSError):  # the oldest unused one goes first
        os.utime(name, dir_fd=directory, follow_symlinks=False)
    return content


def _write(directory: int, name: str, content: bytes) -> None:
    partial = name.replace(".object", ".partial")
    with suppress(FileNotFoundError):  # an agent's that ended meanwhile
        os.unlink(partial, dir_fd=directory)
    with os.fdopen(os.open(partial, _WRITE, 0o600, dir_fd=directory), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)


def _prune(directory: int) -> None:
    for _, name in sorted(_listed(directory), reverse=True)[KEPT:]:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)


def _listed(directory: int) -> list[tuple[int, str]]:
    """When each program was last used, and its name."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in islice(entries, _MAX_LISTED) if _NAME.fullmatch(entry.name)]
    found: list[tuple[int, str]] = []
    for name in names:
        with suppress(FileNotFoundError):  # another agent's, which removed it just now
            found.append((os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns, name))
    return found


def _name(key: bytes) -> str:
    return f"{key.hex()}.object"
