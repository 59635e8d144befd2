# SPDX-License-Identifier: Apache-2.0
"""Follow the names of addresses: the file is read again when it changed, at each reading.

Enters: a path, or another ``Named``. Leaves: the pods of this machine. Guarantees: a file that cannot be read
becomes a warning, and the names read before stay.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from nodeagent.node.pods import LocalPod
from nodeagent.top import pods_file
from nodeagent.top.notes import Warnings

_LARGEST_FILE: Final = 256 * 2**20
"""Bytes; a list of 5,000 pods with everything Kubernetes says of them is a tenth of this."""


class PodsFile:
    """The residents that a file names; the file is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Raises PodsFileError naming the file."""
        self._path = path
        self._seen = self._stamp()
        self.residents = self._read()

    def changed(self) -> bool:
        """Whether other residents are named now. Raises PodsFileError; those named before stay then."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return False
        self._seen = stamp
        before, self.residents = self.residents, self._read()
        return before != self.residents

    def _stamp(self) -> tuple[int, int, int] | None:
        """None for what can be read only once, and while the file is away."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None

    def _read(self) -> tuple[pods_file.Resident, ...]:
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST_FILE + 1)
            if len(content) > _LARGEST_FILE:
                raise pods_file.PodsFileError(
                    f"larger than {_LARGEST_FILE >> 20} MiB; give a file with this machine's pods only"
                )
            return pods_file.parse(content.decode("utf-8-sig"))
        except OSError as error:
            raise pods_file.PodsFileError(f"{self._path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise pods_file.PodsFileError(f"{self._path}: not UTF-8 text (byte {error.start})") from error
        except pods_file.PodsFileError as error:
            raise pods_file.PodsFileError(f"{self._path}: {error}") from error


class Named(Protocol):
    """What lists the owners on this machine."""

    residents: tuple[pods_file.Resident, ...]

    def changed(self) -> bool:
        """Whether others are named now. Raises PodsFileError; those named before stay then."""


class NamedPods:
    """What ``Named`` says, as the meter asks for it: an error becomes a warning, and the names before stay."""

    def __init__(self, named: Named | None, warnings: Warnings) -> None:
        self._named, self._warnings = named, warnings

    def changed(self) -> bool:
        try:
            return self._named is not None and self._named.changed()
        except pods_file.PodsFileError as error:
            self._warnings.add(f"{error}; the names read before stay")
            return False

    def living_here(self, node: frozenset[bytes]) -> Mapping[str, LocalPod]:
        residents = self._named.residents if self._named else ()
        here = pods_file.living_here(residents, node)
        if residents and not here:
            self._warnings.add("none of the pods in --pods runs on this machine, by their status.hostIP")
        return {pod.uid: pod for pod in here}
