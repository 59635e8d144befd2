# SPDX-License-Identifier: Apache-2.0
"""A program of several commands, on ``argparse``.

Enters: the command line. Leaves: an exit status, after the chosen command has run. Guarantees: only the chosen
command's modules are imported; every program and command answers ``--help``; what cannot be understood is one line
on standard error that names the nearest flag or command, and exit status 2.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, NoReturn, Protocol

from footprint.service import fail

SHOWN: Final = 60
"""Characters of a wrong argument that an error repeats."""


class BadSettingError(ValueError):
    """A setting or argument that cannot be used; the message names it, ``remedy`` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Action(Protocol):
    """What a command reads and does."""

    def fill(self, parser: Parser) -> None:
        """Add the command's flags to ``parser``."""

    def run(self, parsed: argparse.Namespace, parser: Parser) -> int:
        """Do it; the exit status. Raises BadSettingError."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a program."""

    name: str
    summary: str
    """One line for the program's ``--help``."""
    load: Callable[[], Action]
    """Imports what the command needs; called when the command is chosen."""
    aliases: tuple[str, ...] = ()


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are BadSettingErrors. ``fill`` adds the flags when they are needed."""

    def __init__(self, *args: Any, fill: Callable[[Parser], None] | None = None, **options: Any) -> None:
        self._fill, self._flags = fill, list[str]()
        super().__init__(*args, **(options | {"allow_abbrev": False}))

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        self._flags += [name for name in names if str(name).startswith("--")]
        return super().add_argument(*names, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As ``argparse``, but nothing unknown is passed over. Raises BadSettingError."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise self._unknown(unknown)
        return parsed, unknown

    def print_help(self, file: Any = None) -> None:
        """As ``argparse``, but an output that cannot be written is no success."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        raise BadSettingError(message, self.see)

    @property
    def see(self) -> str:
        """Where to read more."""
        return f"see `{self.prog} --help`"

    def _unknown(self, arguments: Sequence[str]) -> BadSettingError:
        flag = next((argument for argument in arguments if argument.startswith("-")), None)
        if flag is None:
            return BadSettingError(f"unexpected argument {arguments[0][:SHOWN]!r}", self.see)
        name = flag.partition("=")[0][:SHOWN]
        return BadSettingError(f"unknown flag {name!r}", nearest(name, self._flags) + self.see)


def nearest(given: str, known: Sequence[str]) -> str:
    """``did you mean KNOWN? `` for what resembles ``given``, else nothing."""
    return "".join(f"did you mean {found}? " for found in get_close_matches(given, known, 1))


@dataclass(frozen=True, slots=True)
class Program:
    """A program. ``default`` is the command that flags without a command mean, ``bare`` the one of no argument."""

    name: str
    description: str
    commands: Sequence[Command]
    epilog: str = ""
    default: str | None = None
    bare: str | None = None

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command line; the exit status. Ends the process for ``--help`` (0) and bad arguments (2).

        A character that the locale cannot write is spelled out. Output that nobody reads any more, as with
        ``| head``, and Ctrl-C end the program without a word, with the status of the signal.
        """
        for output in (sys.stdout, sys.stderr):
            if isinstance(output, io.TextIOWrapper):
                output.reconfigure(errors="backslashreplace")
        try:
            try:
                return self._run(self._completed(sys.argv[1:] if arguments is None else list(arguments)))
            finally:
                sys.stdout.flush()
        except BadSettingError as error:
            fail(str(error), error.remedy)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        except OSError as error:
            if error.errno == errno.EPIPE and _output_lost():
                return 128 + signal.SIGPIPE
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _drop_output()
                fail(f"the output cannot be written ({error.strerror})", "make room, or write elsewhere")
            raise

    @property
    def usage(self) -> str:
        """The form of a command line."""
        names = "|".join(f"[{c.name}]" if c.name == self.default else c.name for c in self.commands)
        return f"{self.name} {names} [--help] [FLAGS]"

    @property
    def names(self) -> list[str]:
        """Of all commands, the other names among them."""
        return [name for command in self.commands for name in (command.name, *command.aliases)]

    @property
    def _commands_known(self) -> str:
        *most, last = [command.name for command in self.commands]
        return f"use {', '.join(most)} or {last}; usage: {self.usage}"

    def _completed(self, given: list[str]) -> list[str]:
        if not given and self.bare:
            return [self.bare]
        if " ".join(given[:2]) in self.names:  # a command of two words
            return [" ".join(given[:2]), *given[2:]]
        if given and self.default and given[0].startswith("-") and given[0] not in ("-h", "--help"):
            return [self.default, *given]
        return given

    def _run(self, given: list[str]) -> int:
        if not given:
            raise BadSettingError("no command given", self._commands_known)
        names = self.names
        if given[0] == "help":
            given = self._completed([*given[1:], "--help"])
        elif given[0].startswith("-") and given[0] not in ("-h", "--help"):
            raise BadSettingError(f"{given[0][:SHOWN]!r} stands before the command", f"write {self.usage}")
        elif not given[0].startswith("-") and given[0] not in names:
            raise BadSettingError(
                f"unknown command {given[0][:SHOWN]!r}", nearest(given[0], names) + self._commands_known
            )
        chosen: list[tuple[Action, Parser]] = []
        parsed = self._parser(chosen).parse_args(given)
        if not chosen:
            raise BadSettingError("no command given", self._commands_known)
        action, parser = chosen[0]
        return action.run(parsed, parser)

    def _parser(self, chosen: list[tuple[Action, Parser]]) -> Parser:
        parser = Parser(
            prog=self.name, usage=self.usage, description=self.description, epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        see = f"`{self.name} COMMAND --help` shows a command's flags."
        commands = parser.add_subparsers(title="commands", metavar="COMMAND", description=see, parser_class=Parser)
        for command in self.commands:
            commands.add_parser(
                command.name, aliases=command.aliases, help=command.summary.replace("%", "%%"),
                prog=f"{self.name} {command.name}", fill=partial(_fill, command, chosen),
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )  # fmt: skip
        return parser


def _output_lost() -> bool:
    """Whether nobody reads standard output any more. If so, what is left for it is dropped."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    lost = any(event & select.POLLERR for _, event in poll.poll(0))
    if lost:
        _drop_output()
    return lost


def _drop_output() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _fill(command: Command, chosen: list[tuple[Action, Parser]], parser: Parser) -> None:
    action = command.load()
    action.fill(parser)
    chosen.append((action, parser))
