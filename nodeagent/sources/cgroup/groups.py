# SPDX-License-Identifier: Apache-2.0
"""The cgroups of pods on the node's network: their sockets have the node's addresses, but cgroups of their own.

Enters: the cgroup tree whose sockets are counted, the pods by the names that a kubelet gives their cgroups.
Leaves: cgroup ids. Effects: reads directory names. Guarantees: one search looks at ``MOST_LOOKED_AT`` directories
at most; a cgroup that is not there yet is looked for again ``AGAIN`` seconds later. Where a kubelet uses cgroups
of the first version its pods are not found, and stay HOST.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

MOST_LOOKED_AT: Final = 4096
AGAIN: Final = 10.0
DEEPEST: Final = 7
"""Levels below the tree's root at which a pod's cgroup may be. The program looks at nine above a socket's."""
_ANY_NAME: Final = 2
"""Levels at which a kubelet's tree may begin below a cgroup of any name (``--cgroup-root``)."""
_LEADS_TO_PODS: Final = re.compile(r"kube|^(besteffort|burstable|guaranteed)$")
_POD: Final = re.compile(r"pod([0-9a-f][0-9a-f_-]{7,63})(?:\.slice)?$")
"""``pod<UID>``, or with systemd ``kubepods-burstable-pod<UID>.slice``, whose UID has ``_`` for ``-``."""


class PodGroups:
    """What was found, while it is asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._wanted: Mapping[str, str] = {}
        self._found: dict[str, int] = {}
        self._look_from = 0.0

    def change(self, wanted: Mapping[str, str], now: float) -> None:
        """``wanted``: pod UID → its UID in the names of cgroups."""
        if wanted.keys() - self._wanted.keys():
            self._look_from = now
        self._wanted = wanted
        self._found = {uid: group for uid, group in self._found.items() if uid in wanted}

    def look(self, now: float) -> bool:
        """Search for those that are missing, when it is time; whether something was found."""
        missing = {name: uid for uid, name in self._wanted.items() if uid not in self._found}
        if not missing or now < self._look_from:
            return False
        self._look_from = now + AGAIN
        before = len(self._found)
        for name, group in pods_below(self._root):
            if (uid := missing.get(name)) is not None:
                self._found[uid] = group
        return len(self._found) > before

    def by_group(self) -> dict[int, str]:
        """Cgroup id → pod UID."""
        return {group: uid for uid, group in self._found.items()}


def pod_named(directory: str) -> str:
    """The UID in the name of a pod's cgroup; empty: it is none."""
    found = _POD.search(directory)
    return found[1].replace("_", "-") if found else ""


def pods_below(root: Path) -> Iterator[tuple[str, int]]:
    """The UID and the id of each pod's cgroup in a tree."""
    waiting, looked_at = [(root, 0)], 0
    while waiting and looked_at < MOST_LOOKED_AT:
        path, depth = waiting.pop(0)
        looked_at += 1
        for entry in _directories(path):
            if name := pod_named(entry.name):
                with suppress(OSError):
                    yield name, entry.stat(follow_symlinks=False).st_ino
            elif depth + 1 < DEEPEST and (depth + 1 < _ANY_NAME or _LEADS_TO_PODS.search(entry.name)):
                waiting.append((Path(entry.path), depth + 1))


def _directories(path: Path) -> list[os.DirEntry[str]]:
    """Empty where the cgroup has gone meanwhile."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
