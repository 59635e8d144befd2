# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces: made, found, entered, emptied and removed.

Enters: names. Leaves: namespaces under /run/netns, as ``ip netns`` keeps them. Guarantees: the loopback of a new
namespace is up. Deleting a namespace first ends every process inside, but never this one. Deleting a namespace
that does not exist is no error.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lab.errors import LabError

DIRECTORY: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000
_MNT_DETACH: Final = 2
_KILL_SECONDS: Final = 3.0
"""How long killed processes may take to leave a namespace before it is removed all the same."""

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(LabError):
    """A namespace could not be made, entered or removed; the message says why and what helps."""


def create(name: str) -> None:
    """Make namespace ``name`` with its loopback up. Raises NamespaceError when it exists or cannot be made."""
    create_all([name])


def create_all(names: Sequence[str]) -> None:
    """Make several at the cost of one program start; each gets its loopback up."""
    batch = "".join(f"netns add {name}\n" for name in names)
    done = subprocess.run(["ip", "-batch", "-"], input=batch, text=True, capture_output=True, check=False)
    if done.returncode:
        raise NamespaceError(
            f"network namespaces {', '.join(names)} were not made: {done.stderr.strip()}; "
            "run as root, and delete leftovers with `ip netns delete NAME`"
        )
    for name in names:
        with entered(name):
            _loopback_up()


def delete(name: str) -> None:
    """End every process inside ``name``, then remove it. Nothing happens when there is no such namespace."""
    delete_all([name])


def delete_all(names: Iterable[str]) -> None:
    """Delete several with one look through the process table."""
    present = [name for name in names if exists(name)]
    if not present:
        return
    deadline = time.monotonic() + _KILL_SECONDS
    while (inside := pids(present)) and time.monotonic() < deadline:
        for pid in inside:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    for name in present:
        path = DIRECTORY / name
        _libc.umount2(os.fsencode(path), _MNT_DETACH)  # a file that is not mounted is a half-made namespace
        path.unlink(missing_ok=True)


def exists(name: str) -> bool:
    """Whether ``name`` is there, half-made ones included."""
    return (DIRECTORY / name).exists()


def list_names(prefix: str) -> list[str]:
    """The namespaces whose names begin with ``prefix``, sorted."""
    if not DIRECTORY.is_dir():
        return []
    return sorted(path.name for path in DIRECTORY.iterdir() if path.name.startswith(prefix))


def pids(names: Iterable[str]) -> list[int]:
    """Processes (other than this one) inside any of ``names``."""
    inodes = set()
    for name in names:
        with suppress(FileNotFoundError):
            inodes.add((DIRECTORY / name).stat().st_ino)
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it ended while we looked
            if Path(entry.path, "ns/net").stat().st_ino in inodes and not _is_zombie(entry.name):
                found.append(int(entry.name))
    return found


def enter(name: str) -> int:
    """Move this thread into ``name`` for good; returns a descriptor of the namespace left, for ``leave``."""
    previous = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        os.close(previous)
        raise NamespaceError(f"network namespace {name} is not there ({error.strerror}); start its lab") from error
    try:
        _setns(target, name)
    except NamespaceError:
        os.close(previous)
        raise
    finally:
        os.close(target)
    return previous


def leave(previous: int) -> None:
    """Go back to the namespace that ``enter`` left, and close its descriptor."""
    try:
        _setns(previous, "the one before")
    finally:
        os.close(previous)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Run a block with this thread inside ``name``; sockets made there stay there."""
    previous = enter(name)
    try:
        yield
    finally:
        leave(previous)


def command(name: str, argv: Sequence[str]) -> list[str]:
    """``argv`` so wrapped that it runs inside ``name``, with a /sys that shows that namespace's interfaces.

    The wrapper executes ``argv`` in its own place: process id, signals and exit status are those of ``argv``.
    """
    return ["ip", "netns", "exec", name, *argv]


def _setns(descriptor: int, name: str) -> None:
    # os.setns came with Python 3.12.
    if _libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise NamespaceError(f"entering network namespace {name}: {os.strerror(code)}; run as root")


def _is_zombie(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "Z"


def _loopback_up() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, capture_output=True)
