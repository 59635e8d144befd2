# SPDX-License-Identifier: Apache-2.0
"""``untune``: takes back what an agent that crashed has set on this machine.

Enters: the folder of the journals. Leaves: lines about what was taken back, what somebody else changed since and
therefore stays, and what could not be taken back.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from nodeagent.tuning import journal_file
from nodeagent.tuning.journal_file import FOLDER, JournalFile
from nodeagent.tuning.modes import Refusal, TuningRefusedError
from nodeagent.tuning.undo import restore


@dataclass(slots=True)
class Found:
    """Of all journals."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def untune(folder: Path = FOLDER) -> int:
    """Print what was done; 0 when nothing of ours is left, else 1. An agent that runs keeps what it set."""
    found = take_back(folder)
    for line in found.lines:
        print(line)
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    if not found.lines and not found.problems:
        print("nothing was set")
    return 1 if found.problems else 0


def take_back(folder: Path = FOLDER, *, others_run: bool = False) -> Found:
    """What journals of this network namespace, and of the machine's earlier lives, name. ``others_run``: those of
    agents that run, and of other network namespaces, are no problem."""
    found = Found()
    try:
        namespaces = journal_file.namespaces(folder)
    except OSError as error:
        found.problems.append(f"{folder} cannot be read: {error.strerror}; run as root")
        return found
    for netns in namespaces:
        _one(folder, netns, found, others_run=others_run)
    return found


def _one(folder: Path, netns: int, found: Found, *, others_run: bool) -> None:
    try:
        file = JournalFile(folder, netns)
    except TuningRefusedError as error:
        if not (others_run and error.refusal is Refusal.HELD):
            found.problems.append(str(error))
        return
    try:
        if netns != journal_file.here() and not file.is_old():
            if others_run:
                return
            found.problems.append(
                f"{file.path} is of another network namespace; run this inside of it, or remove the file once the "
                "namespace is gone"
            )
            return
        outcome = restore(file)
        found.lines += outcome.lines()
        found.problems += outcome.failed
        if not outcome.failed:
            file.forget()
    except TuningRefusedError as error:
        found.problems.append(str(error))
    finally:
        file.close()
