# SPDX-License-Identifier: Apache-2.0
"""Supervised child processes: each in its own process group, with a log file, gone when the driver is gone.

Enters: an argument vector, a network namespace, a log path. Leaves: a running Process. Guarantees: a child does
not outlive the driver, even a driver killed by SIGKILL. ``stop`` always ends the child. A child that does not
become ready raises LabError with the last lines of its log.

The kernel kills a child when the thread that started it ends. So start children from a thread that lives as long
as they should.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lab.errors import LabError
from lab.network import netns as namespaces

POLL_SECONDS: Final = 0.05
"""Seconds between two checks of readiness."""

STOP_GRACE_SECONDS: Final = 5.0
"""How long a child has between SIGTERM and SIGKILL."""

LOG_TAIL_LINES: Final = 15


class Process:
    """One child and its log. Made by ``start``."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status; negative for a signal; None while it runs."""
        return self._popen.poll()

    def send(self, sig: int) -> None:
        """Send ``sig`` to the child alone; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(sig)

    def stop(self, sig: int = signal.SIGTERM, grace: float = STOP_GRACE_SECONDS) -> int:
        """End the child with ``sig``, its whole group with SIGKILL after ``grace`` seconds. Returns its status."""
        self.send(sig)  # signal 0 sends nothing: the caller has sent one already
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        # Also for a child that has ended: what it started is in its group, and the group's id stays taken
        # for as long as there is a member.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait()

    def check(self) -> None:
        """Raise LabError when the child has ended."""
        if not self.running:
            raise LabError(f"{self.name} ended with status {self.returncode}; {tail(self.log)}")

    def wait(self, timeout: float | None = None) -> int:
        """Exit status, once it has ended. Raises LabError after ``timeout`` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.name} still runs after {timeout:g} s; {tail(self.log)}") from error

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return once ``ready()`` is true. Raises LabError when the child ends first, or ``timeout`` s pass."""
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} was not ready within {timeout:g} s; {tail(self.log)}")
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(
    argv: Sequence[str | Path],
    *,
    log: Path,
    name: str | None = None,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Process:
    """Start ``argv`` with output appended to ``log``.

    ``netns`` names the network namespace it runs in (default: the calling thread's); ``env`` is added to the
    driver's environment. Raises LabError when the program cannot be started.
    """
    command = _dying_with_the_driver([str(a) for a in argv])
    if netns is not None:
        command = namespaces.command(netns, command)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as out:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                process_group=0,  # Ctrl-C reaches the driver alone, which then stops its children in order
            )
    except OSError as error:
        raise LabError(f"cannot start {command[0]}: {error.strerror}") from error
    return Process(name or Path(str(argv[0])).name, popen, log)


def stop_all(processes: Iterable[Process], grace: float = STOP_GRACE_SECONDS) -> None:
    """Stop several at once: together they take as long as the slowest, ``grace`` seconds at most."""
    stopping = list(processes)
    for process in stopping:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + grace
    for process in stopping:
        process.stop(0, max(deadline - time.monotonic(), 0.0))


def _dying_with_the_driver(argv: list[str]) -> list[str]:
    """``argv`` killed by the kernel when its parent ends.

    ``setpriv`` (util-linux, on every Debian) rather than a function run between fork and exec, which is not safe
    in a driver with threads. The setting outlives the exec.
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of ``log``, introduced for an error message."""
    try:
        last = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError as error:
        return f"its log {log} cannot be read: {error.strerror}"
    return (
        f"last lines of {log}:\n" + "\n".join(f"  {line}" for line in last) if last else f"its log {log} is empty"
    )
