# SPDX-License-Identifier: Apache-2.0
"""``traffic-footprint-nodeagent``: ``run`` (the default), ``preflight``, ``top``, ``unload`` and ``untune``.

``watch`` is the old name of ``top`` and still works.

Enters: the command line. Leaves: the exit status of the command; 2, with one line that names the remedy, for a
command line that cannot be used. Each command imports its own part alone: the terminal view needs no cluster, the
resident agent no preflight.
"""

from __future__ import annotations

import sys
from typing import Final, NoReturn

from footprint.commands import Action, Command, Program


def main() -> NoReturn:
    """Entry point of the console script."""
    sys.exit(_PROGRAM.main())


def _run() -> Action:
    from footprint.settings import SettingsAction  # noqa: PLC0415
    from nodeagent import run  # noqa: PLC0415
    from nodeagent.settings import AgentSettings  # noqa: PLC0415

    return SettingsAction(AgentSettings, run.run)


def _preflight() -> Action:
    from footprint.settings import SettingsAction  # noqa: PLC0415
    from nodeagent import preflight  # noqa: PLC0415
    from nodeagent.settings import PreflightSettings  # noqa: PLC0415

    return SettingsAction(PreflightSettings, preflight.report)


def _top() -> Action:
    from footprint.settings import SettingsAction  # noqa: PLC0415
    from nodeagent.settings import TopSettings  # noqa: PLC0415
    from nodeagent.top import run as top  # noqa: PLC0415

    return SettingsAction(TopSettings, top.run)


def _unload() -> Action:
    from footprint.settings import SettingsAction  # noqa: PLC0415
    from nodeagent import unload  # noqa: PLC0415
    from nodeagent.settings import UnloadSettings  # noqa: PLC0415

    return SettingsAction(UnloadSettings, lambda _: unload.unload())


def _untune() -> Action:
    from footprint.settings import SettingsAction  # noqa: PLC0415
    from nodeagent.settings import UntuneSettings  # noqa: PLC0415
    from nodeagent.tuning import untune  # noqa: PLC0415

    return SettingsAction(UntuneSettings, lambda _: untune.untune())


_PROGRAM: Final = Program(
    "traffic-footprint-nodeagent",
    "Measure which pods of this machine carry elephant flows, and publish it on the machine's Node.",
    [
        Command("run", "measure this node's traffic and publish it on its Node", _run),
        Command("preflight", "say what this machine can measure, and what to do where it cannot", _preflight),
        Command(
            "top", "show this machine's elephants and footprints live; needs no cluster", _top, aliases=("watch",)
        ),
        Command("unload", "remove the programs that agents left in this machine's kernel", _unload),
        Command("untune", "take back what an agent that crashed has tuned on this machine", _untune),
    ],
    "Flags without a command, and no argument at all, mean: run (default).",
    default="run",
    bare="run",
)
