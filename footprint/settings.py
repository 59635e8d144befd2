# SPDX-License-Identifier: Apache-2.0
"""Settings from flags and environment, the same way in every program.

Enters: a pydantic model, whose fields are the settings, and a command line. Leaves: a validated instance.
Guarantees: a flag wins over the environment, which wins over the default. Whatever cannot be understood becomes
one BadSettingError that names the flag, and says what to do.
"""

from __future__ import annotations

import inspect
import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, SettingsError

from footprint.commands import SHOWN, BadSettingError, Parser

ENV_PREFIX: Final = "TRAFFIC_FOOTPRINT_"

_METAVARS: Final = {"str": "TEXT", "list[str]": "TEXT", "Path": "FILE", "int": "NUMBER", "float": "NUMBER"}
_NO_DEFAULT: Final = re.compile(r" \(default: (None|\[\])?\)")

Model = TypeVar("Model", bound=BaseSettings)


class SettingsAction(Generic[Model]):
    """A command that reads ``model`` and then calls ``run`` with it."""

    def __init__(self, model: type[Model], run: Callable[[Model], int]) -> None:
        self._model, self._run = model, run
        self._flags: CliSettingsSource[Model] | None = None

    def fill(self, parser: Parser) -> None:
        """Add one flag for each field to ``parser``."""
        self._flags = flags(self._model, parser)

    def run(self, parsed: Namespace, parser: Parser) -> int:
        """Read the settings and run the command; its exit status. Raises BadSettingError."""
        assert self._flags is not None, "fill comes first"  # noqa: S101
        return self._run(settings(self._model, self._flags, parsed, parser.see))


def read(model: type[Model], arguments: Sequence[str]) -> Model:
    """``model`` from a command's flags, then the environment, then its defaults.

    Raises BadSettingError. ``--help`` prints help and ends the process with status 0.
    """
    parser = Parser(prog=model.model_config.get("cli_prog_name"))
    return settings(model, flags(model, parser), parser.parse_args(list(arguments)), parser.see)


def flags(model: type[Model], parser: Parser) -> CliSettingsSource[Model]:
    """One flag of ``parser`` for each field of ``model``; its docstring becomes the description."""
    parser.description = inspect.getdoc(model)
    return CliSettingsSource(
        model, root_parser=parser, add_argument_method=_add, cli_hide_none_type=True, cli_avoid_json=True,
        cli_show_env_vars=bool(model.model_config.get("env_prefix")),
    )  # fmt: skip


def _add(parser: ArgumentParser, *names: str, **options: Any) -> object:
    """Add a flag as people expect it.

    The bare flag of a yes-or-no setting says yes: ``--shadow`` is ``--shadow=true``. A setting that is absent by
    default says so in its own words.
    """
    if options.get("metavar") == "bool":
        options |= {"nargs": "?", "const": "true", "metavar": "true|false"}
    if isinstance(options.get("metavar"), str):
        options["metavar"] = _METAVARS.get(options["metavar"], options["metavar"])
    options["help"] = _NO_DEFAULT.sub("", str(options["help"]))
    return parser.add_argument(*names, **options)


def settings(model: type[Model], flags: CliSettingsSource[Model], parsed: Namespace, see: str) -> Model:
    """``model`` from parsed flags. ``see`` names the help. Raises BadSettingError."""
    try:
        return CliApp.run(model, cli_args=parsed, cli_settings_source=flags)
    except ValidationError as error:
        raise _problem(error, model, see) from error
    except SettingsError as error:
        raise BadSettingError(str(error).splitlines()[0], see) from error


def _problem(error: ValidationError, model: type[BaseSettings], see: str) -> BadSettingError:
    first = error.errors(include_url=False, include_context=False)[0]
    reason = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:  # two settings that do not go together; the reason names both
        return BadSettingError(reason, see)
    name = str(first["loc"][0])
    flag, variable = f"--{name.replace('_', '-')}", _variable(model, name)
    if first["type"] == "missing":
        return BadSettingError(f"{flag} is missing", f"give {flag}" + (f" or set {variable}" if variable else ""))
    set_by = f" (or {variable})" if variable in os.environ else ""
    given = (
        "" if first["type"] == "value_error" else f" {str(first.get('input'))[:SHOWN]!r}"
    )  # else told by itself
    return BadSettingError(f"{flag}{set_by}{given}: {reason}", see)


def _variable(model: type[BaseSettings], name: str) -> str:
    """The environment variable of a field; empty when the model reads none."""
    prefix = str(model.model_config.get("env_prefix") or "")
    return f"{prefix}{name}".upper() if prefix else ""
