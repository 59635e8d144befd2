# SPDX-License-Identifier: Apache-2.0
"""A node's cgroups: its programs in one, its pods beside them, in every hierarchy that this machine has.

Enters: a name such as ``tf-1a2b-node1``. Leaves: cgroups of that name below each hierarchy's root, which kubelet
takes as its ``cgroupRoot``. Guarantees: ``destroy`` ends every process of the node, however it was started and
whether or not its parent lives, and removes the cgroups.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.errors import LabError

ROOT: Final = Path("/sys/fs/cgroup")
PROGRAMS: Final = "programs"
"""The child for containerd, kubelet and kube-proxy: with cgroup v2, a cgroup with children holds no processes."""
WANTED: Final = ("cpu", "cpuset", "memory", "pids")
"""Controllers that kubelet and containerd insist on."""
_KILL_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_CPUSET_FILES: Final = ("cpuset.cpus", "cpuset.mems")


def hierarchies(mounts: Path = Path("/proc/self/mounts")) -> list[Path]:
    """Where this machine's cgroup hierarchies are mounted: one for v2, one per controller (or group) for v1."""
    found = []
    for line in mounts.read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"} and place.startswith(str(ROOT)):
            found.append(Path(place))
    return found


def missing_controllers(places: Iterable[Path]) -> list[str]:
    """Those of WANTED that no hierarchy offers to this machine's root."""
    offered: set[str] = set()
    for place in places:
        listed = place / "cgroup.controllers"  # v2
        offered |= _offered(place) if listed.exists() else set(place.name.split(","))
    return [name for name in WANTED if name not in offered]


def refusal(places: Iterable[Path], name: str = "tf-probe") -> str:
    """Why this process may not make cgroups; empty when it may."""
    for place in places:
        probe = place / f"{name}-{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            return f"{place}: {error.strerror}"
    return ""


def kept_back(places: Iterable[Path], name: str = "tf-probe") -> list[str]:
    """Those of WANTED that a version 2 hierarchy has and gives to no cgroup below it.

    A container's own root is a cgroup like others: while processes are in it, it may give nothing on.
    """
    kept: set[str] = set()
    for place in places:
        if not (place / "cgroup.controllers").exists():
            continue
        _delegate(place)
        probe = place / f"{name}-{os.getpid()}"
        probe.mkdir()
        try:
            kept |= _offered(place) - _offered(probe)
        finally:
            probe.rmdir()
    return [name for name in WANTED if name in kept]


def _offered(group: Path) -> set[str]:
    """The controllers of a version 2 cgroup."""
    return set((group / "cgroup.controllers").read_text().split())


def create(name: str) -> list[Path]:
    """The node's cgroups, made; returns the ``cgroup.procs`` files that its programs enter. Raises LabError."""
    entered = []
    for place in hierarchies():
        try:
            if (place / "cgroup.controllers").exists():
                _delegate(place)
            for group in (place / name, place / name / PROGRAMS):
                group.mkdir(exist_ok=True)
                _fill_cpuset(group)
            if (place / "cgroup.controllers").exists():
                _delegate(place / name)
        except OSError as error:
            raise LabError(
                f"cgroup {name} was not made below {place} ({error.strerror}), and every real node needs its own; "
                "run where root may write cgroups"
            ) from error
        entered.append(place / name / PROGRAMS / "cgroup.procs")
    return entered


def names(prefix: str) -> list[str]:
    """Top-level cgroups whose names begin with ``prefix``, sorted."""
    return sorted({path.name for place in hierarchies() for path in place.glob(f"{prefix}*") if path.is_dir()})


def destroy(name: str) -> None:
    """End every process of the node, then remove its cgroups. Nothing happens when there are none."""
    places = [place / name for place in hierarchies()]
    deadline = time.monotonic() + _KILL_SECONDS
    while (inside := set(_pids(places))) and time.monotonic() < deadline:
        for pid in inside:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    while any(place.exists() for place in places):
        for place in places:
            _remove(place)
        if time.monotonic() > deadline:
            return  # a process in an uninterruptible wait; the next start tries again
        time.sleep(_POLL_SECONDS)


def _pids(places: Iterable[Path]) -> Iterator[int]:
    for place in places:
        for folder, _, _ in os.walk(place):
            with suppress(OSError):  # it went while we looked
                yield from map(int, Path(folder, "cgroup.procs").read_text().split())


def _remove(place: Path) -> None:
    for folder, _, _ in os.walk(place, topdown=False):
        with suppress(OSError):  # busy for a moment after its last process
            Path(folder).rmdir()


def _fill_cpuset(group: Path) -> None:
    """A new v1 cpuset takes no process until it is told its processors and memory."""
    for file in _CPUSET_FILES:
        own = group / file
        if own.exists() and not own.read_text().strip() and not (group / "cgroup.controllers").exists():
            own.write_text((group.parent / file).read_text())


def _delegate(group: Path) -> None:
    """Let the children of a v2 cgroup use every controller that it has."""
    for controller in sorted(_offered(group)):
        with suppress(OSError):  # one that cannot be given on; missing_controllers names those that matter
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
