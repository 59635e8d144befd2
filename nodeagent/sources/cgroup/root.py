# SPDX-License-Identifier: Apache-2.0
"""Where the machine's cgroup2 tree is, and whether its root takes another program.

Enters: the path that the settings name, or none. Leaves: a directory, or a refusal by name. Effects: reads /sys,
and asks the kernel who is attached; attaches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable

MOUNTED: Final = Path("/run/traffic-footprint/cgroup")
"""Where the chart mounts the node's /sys/fs/cgroup."""
USUAL: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where systemd mounts it: alone, or beside the first version's."""
HOOKS: Final = {"egress": AttachType.CGROUP_EGRESS, "ingress": AttachType.CGROUP_INGRESS}
_IN_EVERY: Final = "cgroup.controllers"
_NOT_AT_THE_ROOT: Final = "cgroup.events"


def find(named: Path | None) -> Path:
    """The cgroup whose sockets are counted: the one named, else the root of the tree. Raises EbpfUnavailable.

    Inside a cgroup namespace the mounted tree begins at the container's own cgroup. To count there would be to
    count the container alone, so such a root must be named.
    """
    if named is not None:
        if (named / _IN_EVERY).exists():
            return named
        raise _missing(f"{named} is not in a cgroup2 tree")
    for path in (MOUNTED, MOUNTED / "unified"):
        if (path / _IN_EVERY).exists():
            return path
    for path in USUAL:
        if (path / _IN_EVERY).exists():
            if (path / _NOT_AT_THE_ROOT).exists():
                raise _missing(f"{path} begins at this container's own cgroup")
            return path
    raise _missing("no cgroup2 file system is mounted")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the cgroup. Raises EbpfUnavailable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _missing(f"{path} cannot be opened ({error.strerror})") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def holder(cgroup: int) -> str:
    """The hook that somebody has for himself alone, as ``egress program 17``; empty: none, or it cannot be
    asked."""
    for name, kind in HOOKS.items():
        with suppress(OSError):
            found = bpf.query_cgroup(cgroup, kind)
            if found.programs and not found.flags:
                return f"{name} program {found.programs[0]}"
    return ""


def taken(path: Path, holder: str) -> EbpfProblem:
    """Somebody's program suffers no other beside it."""
    return EbpfProblem(Cause.CGROUP_TAKEN, f"{path} belongs to the {holder} alone, which was attached exclusively")


def _missing(fact: str) -> EbpfUnavailable:
    return EbpfUnavailable(EbpfProblem(Cause.NO_CGROUP, fact))
