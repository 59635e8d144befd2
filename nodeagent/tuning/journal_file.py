# SPDX-License-Identifier: Apache-2.0
"""The journal's file on the node, one for each network namespace. Effects only.

Guarantees: a journal is there whole or not at all (written aside, fsync, rename, fsync of the folder). It is
believed only if nobody but this user could have written it. One agent at a time holds it.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from nodeagent.tuning.journal import MAX_BYTES, Journal, JournalError, decode, encode
from nodeagent.tuning.modes import Refusal, TuningRefusedError

FOLDER: Final = Path("/var/lib/traffic-footprint")
_NAME: Final = re.compile(r"tuning-(\d{1,20})\.json")
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NETNS: Final = Path("/proc/thread-self/ns/net")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES: Final = 8
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def boot_id() -> str:
    return _BOOT.read_text().strip()


def here() -> int:
    """Inode of this thread's network namespace."""
    return _NETNS.stat().st_ino


def namespaces(folder: Path) -> list[int]:
    """Network namespaces of which there is a journal. Raises OSError for a folder that cannot be read."""
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


class JournalFile:
    """Of one network namespace. Raises TuningRefusedError where the folder is missing or not ours, or held."""

    def __init__(self, folder: Path, netns: int) -> None:
        self.path = folder / f"tuning-{netns}.json"
        try:
            self._folder = os.open(folder, _FOLDER)
        except OSError as error:
            raise TuningRefusedError(
                Refusal.NO_JOURNAL,
                f"{folder} cannot be opened: {error.strerror}; make it, or mount the node's, to keep a journal",
            ) from error
        try:
            found = os.fstat(self._folder)
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS_WRITE:
                raise TuningRefusedError(
                    Refusal.NO_JOURNAL, f"others may write to {folder}; let root own it, with mode 0755"
                )
            self._lock()
        except TuningRefusedError:
            os.close(self._folder)
            raise

    def close(self) -> None:
        """Lets another agent hold it."""
        os.close(self._held)
        os.close(self._folder)

    def read(self) -> Journal | None:
        """None when there is none. Raises JournalError for one that is not believed."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            file = os.open(self.path.name, flags, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"it cannot be opened: {error.strerror}") from error
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise JournalError("it is no regular file of this user alone")
            content = b""
            while chunk := os.read(file, MAX_BYTES + 1 - len(content)):
                content += chunk
        finally:
            os.close(file)
        return decode(content)

    def write(self, journal: Journal) -> None:
        """Raises TuningRefusedError; the journal before is still there then."""
        aside = f"{self.path.name}.new"
        try:
            with suppress(FileNotFoundError):
                os.unlink(aside, dir_fd=self._folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(aside, flags, 0o600, dir_fd=self._folder), "wb") as file:
                file.write(encode(journal))
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            raise TuningRefusedError(
                Refusal.NO_JOURNAL, f"{self.path} cannot be written: {error.strerror}"
            ) from error

    def remove(self) -> None:
        """Nothing is set any more."""
        with suppress(OSError):
            os.unlink(self.path.name, dir_fd=self._folder)
            os.fsync(self._folder)

    def is_old(self) -> bool:
        """Whether the machine was restarted since."""
        try:
            found = self.read()
        except JournalError:
            return False
        return found is not None and found.boot != boot_id()

    def forget(self) -> None:
        """Remove the file by which it is held as well; call it last."""
        with suppress(OSError):
            os.unlink(f"{self.path.name}.lock", dir_fd=self._folder)

    def _lock(self) -> None:
        """A lock without a name, because its last holder forgot it meanwhile, holds nothing: the next one does."""
        for _ in range(_TRIES):
            self._held = self._opened_lock()
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(self._held).st_nlink:
                    return
            except OSError:
                os.close(self._held)
                break
            os.close(self._held)
        raise TuningRefusedError(
            Refusal.HELD, f"an agent that runs holds {self.path}; it takes its tuning back when it ends"
        )

    def _opened_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(f"{self.path.name}.lock", flags, 0o600, dir_fd=self._folder)
        except OSError as error:
            raise TuningRefusedError(
                Refusal.NO_JOURNAL, f"{self.path.parent} cannot be written: {error.strerror}"
            ) from error
