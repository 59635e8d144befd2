# SPDX-License-Identifier: Apache-2.0
"""``traffic-footprint-extender``: the commands ``run`` (the default of flags alone) and ``cleanup``.

Enters: the command line and the environment. Leaves: the exit status of the command; 2, with one line that names
the remedy, for a command line that cannot be used. Each command imports its own part alone: ``cleanup`` needs no
server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extender.settings import PROGRAM, Settings
from footprint.commands import Action, Command, Program
from footprint.settings import SettingsAction, read


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    return _PROGRAM.main(arguments)


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings of ``run`` from flags and environment. Raises BadSettingError."""
    return read(Settings, arguments)


def _run() -> Action:
    from extender import run  # noqa: PLC0415

    def serve(settings: Settings) -> int:
        run.serve(settings)
        return 0

    return SettingsAction(Settings, serve)


def _cleanup() -> Action:
    from extender import cleanup  # noqa: PLC0415

    return SettingsAction(cleanup.CleanupSettings, cleanup.run)


_PROGRAM: Final = Program(
    PROGRAM,
    "Filter and score nodes for kube-scheduler by the measured traffic of pods.",
    [
        Command("run", "serve filter, prioritize, explanations and metrics over HTTP", _run),
        Command("cleanup", "remove the annotations and Leases that node agents left in a cluster", _cleanup),
    ],
    "Flags without a command mean: run (default).",
    default="run",
)
