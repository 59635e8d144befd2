# SPDX-License-Identifier: Apache-2.0
"""Long steps that say how they are doing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Final

from lab.errors import LabError

PROGRESS_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1
_LOG_TAIL: Final = 15
_LINE: Final = 100


def say(line: str, *, area: str = "kernelvm") -> None:
    """A line of progress for the person who waits."""
    print(f"[{area}] {line}", file=sys.stderr, flush=True)


def run(
    argv: Sequence[str],
    what: str,
    *,
    remedy: str,
    area: str = "kernelvm",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run ``argv``, with ``environment`` added, to its end with a line every 15 s.

    Raises LabError with its last lines and ``remedy``.
    """
    start, next_line = time.monotonic(), PROGRESS_SECONDS
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
            )
        except OSError as error:
            raise LabError(f"{what}: cannot start {argv[0]} ({error.strerror}); {remedy}") from error
        with process:
            try:
                while process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    if time.monotonic() - start >= next_line:
                        say(f"{what}: {next_line:.0f} s; {_last_line(log.fileno())}", area=area)
                        next_line += PROGRESS_SECONDS
            except BaseException:
                process.terminate()  # not a kill: mmdebstrap unmounts and removes what it made
                raise
        if process.returncode:
            log.seek(0)
            last = "".join(f"  {line}" for line in log.readlines()[-_LOG_TAIL:])
            raise LabError(f"{what} failed (status {process.returncode}); {remedy}; last lines:\n{last}")


def _last_line(log: int) -> str:
    """Read beside the writer, whose offset is the same descriptor's."""
    lines = os.pread(log, 4096, max(os.fstat(log).st_size - 4096, 0)).decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output yet")
    return last if len(last) <= _LINE else f"{last[: _LINE - 4]} ..."
