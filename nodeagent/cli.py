# SPDX-License-Identifier: Apache-2.0
"""``traffic-footprint-nodeagent``: the subcommands ``run`` (the default), ``preflight``, ``top`` and ``unload``.

``watch`` is the old name of ``top`` and still works.

Enters: the command line. Leaves: the exit status of the subcommand; 2 with one line that names the remedy for a
command line that cannot be used.
"""

from __future__ import annotations

import sys
from typing import Final, NoReturn

from footprint.service import fail
from nodeagent.settings import PROGRAM, BadSettingError, parse, parse_preflight, parse_top

_USAGE: Final = f"""usage: {PROGRAM} [run] [options]
       {PROGRAM} preflight [--output text|json] [--uplink INTERFACE]
       {PROGRAM} top [--pods FILE] [--once] [--output text|json] [options]
       {PROGRAM} unload

run (default)  measure this node's traffic and publish it on its Node; see `{PROGRAM} run --help`
preflight      say what this machine can measure, and what to do where it cannot
top            show this machine's elephants and footprints live, no cluster needed; see `{PROGRAM} top --help`
unload         remove the programs that agents left in this machine's kernel for their successors
"""


def main() -> NoReturn:
    """Entry point of the console script."""
    arguments = sys.argv[1:]
    command = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    if arguments in (["--help"], ["-h"], ["help"]):
        print(_USAGE, end="")
        sys.exit(0)
    if command not in ("", *_COMMANDS):
        fail(f"unknown command {command[:60]!r}", "use run, preflight, top or unload")
    try:
        sys.exit(_COMMANDS[command or "run"](arguments[1:] if command else arguments))
    except BadSettingError as error:
        fail(str(error), error.remedy)


# Each subcommand imports its program alone: the terminal view needs no cluster, the resident agent no preflight.


def _run(arguments: list[str]) -> int:
    from nodeagent import run  # noqa: PLC0415

    return run.run(parse(arguments))


def _preflight(arguments: list[str]) -> int:
    from nodeagent import preflight  # noqa: PLC0415

    return preflight.report(parse_preflight(arguments))


def _top(arguments: list[str]) -> int:
    from nodeagent.top import run as top  # noqa: PLC0415

    return top.run(parse_top(arguments))


def _unload(arguments: list[str]) -> int:
    from nodeagent import unload  # noqa: PLC0415

    if arguments:
        raise BadSettingError(f"unload takes no {arguments[0][:60]!r}", f"run `{PROGRAM} unload` alone")
    return unload.unload()


_COMMANDS: Final = {"run": _run, "preflight": _preflight, "top": _top, "watch": _top, "unload": _unload}
