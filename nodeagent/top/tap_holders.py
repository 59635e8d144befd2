# SPDX-License-Identifier: Apache-2.0
"""Find the virtual machines behind this host's taps.

Enters: the names of taps. Leaves: the machine of each tap that is found. Effects: reads libvirt's status files,
and of processes in the same network namespace their descriptors and arguments. Guarantees: reads a bounded number
of bytes, files, processes and descriptors; what vanishes or is refused meanwhile is passed over; looks again for a
tap that nobody was found for once in ``AGAIN`` seconds at most.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from nodeagent.top.machines import MOST_TAPS, Machine, called, domain, tap_of

LIBVIRT: Final = Path("/run/libvirt/qemu")
PROC: Final = Path("/proc")
AGAIN: Final = 10.0
MOST_FILES: Final = 1024
MOST_PROCESSES: Final = 16_384
MOST_DESCRIPTORS: Final = 200_000
"""Of all processes in one look."""
_STATUS: Final = 2**20
"""Bytes of a status file."""
_ARGUMENTS: Final = 2**16
"""Bytes; QEMU's own are some thousands."""
_TUN: Final = "/dev/net/tun"


def by_libvirt(folder: Path = LIBVIRT) -> list[Machine]:
    """The running machines that libvirt keeps a status of."""
    found = []
    for path in itertools.islice(_listed(folder), MOST_FILES):
        if path.endswith(".xml"):
            content = _read(folder / path, _STATUS)
            machine = domain(content) if content is not None else None
            if machine is not None:
                found.append(machine)
    return found


def by_process(taps: Collection[str], proc: Path = PROC) -> list[Machine]:
    """The machines whose processes hold one of ``taps`` in this network namespace."""
    here, budget, found = _namespace(proc / "thread-self"), MOST_DESCRIPTORS, []
    processes = (name for name in _listed(proc) if name.isdecimal())
    for pid in itertools.islice(processes, MOST_PROCESSES):
        if here is None or _namespace(proc / pid) != here:
            continue
        held = set[str]()
        for number in itertools.islice(_listed(proc / pid / "fd"), budget):
            budget -= 1
            if _target(proc / pid / "fd" / number) == _TUN and len(held) < MOST_TAPS:
                held.add(tap_of((_read(proc / pid / "fdinfo" / number, 4096) or b"").decode("utf-8", "replace")))
        if held := held & set(taps):
            found.append(Machine(_called(proc / pid), frozenset(held)))
        if budget <= 0:
            break
    return found


class TapHolders:
    """Remembers whose tap each is, for as long as the taps stay. ``clock`` is monotonic."""

    def __init__(
        self, libvirt: Callable[[], list[Machine]] = by_libvirt,
        process: Callable[[Collection[str]], list[Machine]] = by_process, *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._libvirt, self._process, self._clock = libvirt, process, clock
        self._known: dict[tuple[str, int], str] = {}
        self._looked: frozenset[tuple[str, int]] = frozenset()
        self._due = -math.inf

    def of(self, taps: Mapping[str, int]) -> Mapping[str, str]:
        """Names of machines by tap. ``taps``: name and index, by which a device that was made anew is another."""
        there = frozenset(taps.items())
        self._known = {tap: name for tap, name in self._known.items() if tap in there}
        unknown = there - self._known.keys()
        if unknown and (unknown - self._looked or self._clock() >= self._due):
            self._look(taps)
            self._looked, self._due = there, self._clock() + AGAIN
        return {name: machine for (name, _), machine in self._known.items()}

    def _look(self, taps: Mapping[str, int]) -> None:
        known = {tap: name for (tap, _), name in self._known.items()}
        by_libvirt = [machine for machine in self._libvirt() if machine.taps & taps.keys()]
        asked = taps.keys() - {tap for machine in by_libvirt for tap in machine.taps}
        by_process = self._process(asked) if asked - known.keys() else []
        found = _told_apart([*by_process, *by_libvirt], known)
        self._known |= {(tap, taps[tap]): name for tap, name in found.items() if tap in taps}


def _told_apart(machines: Collection[Machine], known: Mapping[str, str]) -> dict[str, str]:
    """Names by tap; of machines that are called alike, with the tap behind the name. ``known``: names by tap that
    were given before; a machine keeps its own, and another one does not get it."""
    alike, taken = Counter(machine.name for machine in machines), set(known.values())

    def told(machine: Machine) -> str:
        had = [known[tap] for tap in sorted(machine.taps & known.keys())]
        if had:
            return had[0]
        alone = alike[machine.name] == 1 and machine.name not in taken
        return machine.name if alone else f"{machine.name}@{min(machine.taps)}"

    named = [(machine, told(machine)) for machine in machines]
    return {tap: name for machine, name in named for tap in machine.taps}


def _called(process: Path) -> str:
    words = (_read(process / "cmdline", _ARGUMENTS) or b"").decode("utf-8", "replace").split("\0")
    program = (_read(process / "comm", 64) or b"").decode("utf-8", "replace").strip()
    return called(words, f"{program or 'process'}-{process.name}")


def _listed(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except OSError:
        return


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _namespace(process: Path) -> int | None:
    """Number of a process's network namespace."""
    try:
        return (process / "ns/net").stat().st_ino
    except OSError:
        return None
