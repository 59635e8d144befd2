# SPDX-License-Identifier: Apache-2.0
"""``traffic-footprint-extender [run]`` serves; ``cleanup`` removes from a cluster what agents left in it.

Enters: the command line and the environment. Leaves: a call of the command with its settings. Ends the program
with one line that says what to do when they cannot be understood.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsError

from extender.cleanup import CleanupSettings, cleanup, sentence
from extender.run import serve
from extender.settings import PROGRAM, Settings
from footprint.cluster.client import ApiError, ClusterConfigError, connect, request
from footprint.service import fail

_Model = TypeVar("_Model", bound=BaseSettings)


def _switched(arguments: Sequence[str]) -> list[str]:
    """``arguments`` in which a bare ``--shadow`` says ``true``: people type it so, manifests give it a value."""
    return [
        f"{argument}=true" if argument == "--shadow" and after.startswith("--") else argument
        for argument, after in pairwise([*arguments, "--"])
    ]


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings of ``run`` from flags and environment."""
    return _read(Settings, "run", arguments)


def _read(model: type[_Model], command: str, arguments: Sequence[str]) -> _Model:
    """Settings from flags and environment; ends the program with one line when they cannot be understood."""
    see = f"see `{PROGRAM} {command} --help`"
    try:
        return CliApp.run(model, cli_args=_switched(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if not first["loc"]:
            fail(str(first["msg"]).removeprefix("Value error, "), see)
        name = str(first["loc"][0])
        fail(
            f"--{name.replace('_', '-')} {first.get('input')!r}: {first['msg']}",
            f"{see} (environment: TRAFFIC_FOOTPRINT_{name.upper()})",
        )
    except SettingsError as error:
        fail(str(error).splitlines()[0], see)


def clean(settings: CleanupSettings) -> None:
    """Remove what agents left in the cluster; one line about it on stdout. Ends the program when it cannot."""
    try:
        api = connect(settings.kubeconfig, user_agent=PROGRAM)
        print(sentence(cleanup(partial(request, api), settings)))
    except ClusterConfigError as error:
        fail(str(error))
    except ApiError as error:
        fail(f"not cleaned up: {error}", "it is safe to repeat")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["cleanup"]:
        clean(_read(CleanupSettings, "cleanup", given[1:]))
        return
    usage = f"usage: {PROGRAM} [run]|cleanup [--help] [FLAGS]"
    if given[:1] in (["-h"], ["--help"]):
        print(usage)
        return
    if given[:1] == ["run"]:
        given = given[1:]
    elif not given or not given[0].startswith("-"):  # flags alone mean ``run``: there is nothing else to serve
        fail(f"unknown command {given[0]!r}" if given else "no command given", usage)
    serve(read_settings(given))
