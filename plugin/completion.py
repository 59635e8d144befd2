# SPDX-License-Identifier: Apache-2.0
"""Shell completion, as kubectl asks its plugins for it: ``kubectl_complete-footprint``.

Enters: the words after ``kubectl footprint``, the last one unfinished. Leaves: a line for each candidate, with its
description after a tab, and then a line with a colon and a number that tells the shell what to do: the protocol of
cobra's ``__complete``. Guarantees: never fails, and says nothing on standard error; where a cluster must be asked
and does not answer soon, there are no candidates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from footprint.commands import Parser, Program

NO_FILES: Final = 4
"""Directive: the shell adds no names of files."""
KEEP_ORDER: Final = 32
FILES: Final = 0
SECONDS: Final = 2.0
"""To wait for an API server: a person waits."""
MOST: Final = 2_000
"""Candidates; a shell shows some hundred."""
_FILES: Final = frozenset({"kubeconfig", "filename", "state"})
_FORMATS: Final = ("json", "yaml", "name", "wide", "jsonpath=")

Candidate = tuple[str, str]
"""What would be typed, and what it is."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What the shell gets."""

    candidates: Sequence[Candidate] = ()
    directive: int = NO_FILES

    def text(self) -> str:
        """As it is printed. A name that a shell would act on is left out."""
        told = [(word, about) for word, about in self.candidates if word.isprintable()][:MOST]
        lines = [f"{word}\t{about}" if about.isprintable() and about else word for word, about in told]
        return "\n".join([*lines, f":{self.directive}"])


def main(program: Program, words: Sequence[str] | None = None) -> int:
    """Print what completes ``words``, by default the process's arguments."""
    given = list(sys.argv[1:] if words is None else words)
    try:
        found = completed(program, given or [""])
    except (Exception, SystemExit):  # a person typing must see no error
        found = Completed()
    print(found.text())
    return 0


def completed(program: Program, words: Sequence[str]) -> Completed:
    """What completes the last of ``words``."""
    *before, current = words
    command, rest = _command(program, before)
    if command is None:
        return Completed(_starting(_first_words(program, before), current)) if len(before) < 2 else Completed()
    parser = Parser(prog=command)
    chosen = next(one for one in program.commands if one.name == command)
    chosen.load().fill(parser)
    found = _in_command(_Line(command, parser, rest, current))
    if command == "workloads" and not rest:  # its own names, and the commands that begin with it
        also = _starting(_first_words(program, ["workloads"]), current)
        return Completed([*also, *found.candidates], found.directive)
    return found


def _command(program: Program, before: list[str]) -> tuple[str | None, list[str]]:
    """The command, and the words after it."""
    names = {command.name for command in program.commands}
    for count in (2, 1):
        name = " ".join(before[:count])
        if len(before) >= count and name in names:
            return name, before[count:]
    return None, before


def _first_words(program: Program, before: list[str]) -> Iterator[Candidate]:
    """Commands, or what may follow the first word of one."""
    told = set[str]()
    for command in program.commands:
        parts = command.name.split()
        if parts[: len(before)] == before and len(parts) > len(before) and parts[len(before)] not in told:
            told.add(parts[len(before)])
            yield parts[len(before)], command.summary


def _starting(candidates: Iterable[Candidate], current: str) -> list[Candidate]:
    return [(word, about) for word, about in candidates if word.startswith(current)]


class _Line:
    """A command line up to the cursor."""

    def __init__(self, command: str, parser: Parser, rest: list[str], current: str) -> None:
        self.command, self.current = command, current
        self.flags: dict[str, argparse.Action] = {}
        for action in parser._actions:
            self.flags |= dict.fromkeys(action.option_strings, action)
        self.given: dict[str, str] = {}
        """Values of flags by the flags' long names."""
        self.names: list[str] = []
        """Words that are no flags."""
        self.open: argparse.Action | None = None
        """The flag whose value is being typed."""
        self._read(rest)

    def _read(self, rest: list[str]) -> None:
        words = iter(rest)
        for word in words:
            flag, joined, value = word.partition("=")
            action = self.flags.get(flag)
            if action is None:
                if not word.startswith("-"):
                    self.names.append(word)
            elif action.nargs == 0:
                self.given[_long(action)] = "true"
            elif joined:
                self.given[_long(action)] = value
            elif (following := next(words, None)) is not None:
                self.given[_long(action)] = following
            else:
                self.open = action


Source = Callable[[_Line], Iterator[Candidate]]


def _long(action: argparse.Action) -> str:
    return max(action.option_strings, key=len).lstrip("-")


def _in_command(line: _Line) -> Completed:
    if line.open is not None:
        return _values(line, line.open, line.current)
    flag, joined, value = line.current.partition("=")
    if joined and flag in line.flags:
        found = _values(line, line.flags[flag], value)
        return Completed([(f"{flag}={word}", about) for word, about in found.candidates], found.directive)
    if line.current.startswith("-"):
        return Completed(_starting(_flags(line), line.current))
    return Completed(_asked(_NAMES.get(line.command), line, line.current))


def _asked(made: Source | None, line: _Line, current: str) -> list[Candidate]:
    """Names that somebody else must be asked for; none where that fails."""
    try:
        return _starting(made(line), current) if made is not None else []
    except Exception:  # no kubeconfig, no right, no server
        return []


def _flags(line: _Line) -> Iterator[Candidate]:
    """Long flags that are not given yet, and ``--help``."""
    told = set[str]()
    for action in line.flags.values():
        name = _long(action)
        if name not in told and name not in line.given:
            told.add(name)
            yield f"--{name}", (action.help or "").partition(". ")[0].partition("\n")[0].rstrip(".")


def _values(line: _Line, action: argparse.Action, current: str) -> Completed:
    name = _long(action)
    if name in _FILES:
        return Completed(directive=FILES)
    if action.choices is not None:
        return Completed(_starting(((str(choice), "") for choice in action.choices), current))
    if name == "sort-by":
        return Completed(_starting(_columns(line.command), current), NO_FILES | KEEP_ORDER)
    if name == "output":
        return Completed(_starting(((form, "") for form in _FORMATS), current))
    if (known := _choices_in(action)) is not None:
        return Completed(_starting(((word, "") for word in known), current))
    return Completed(_asked(_VALUES.get(name), line, current))


def _choices_in(action: argparse.Action) -> list[str] | None:
    """Choices that pydantic spells in the metavar, such as ``{none,client,server}``."""
    metavar = action.metavar
    if isinstance(metavar, str) and metavar.startswith("{"):
        return [word for word in metavar.strip("{}").split(",") if word]
    return None


def _columns(command: str) -> Iterator[Candidate]:
    from plugin.listing.columns import NODES, pods_kind  # noqa: PLC0415
    from plugin.output.listing import Kind  # noqa: PLC0415
    from plugin.workloads.columns import kind  # noqa: PLC0415

    kinds: dict[str, Kind[Any]] = {
        "nodes": NODES, "pods": pods_kind(all_namespaces=True), "top": pods_kind(all_namespaces=True),
        "workloads": kind(all_namespaces=True),
    }  # fmt: skip
    for column in kinds[command].columns if command in kinds else ():
        if column.key is not None:
            yield column.name, ""


def _settings(line: _Line) -> Any:
    """The connection that the flags so far mean, with little patience."""
    from plugin.connection import NamespaceSettings  # noqa: PLC0415

    text = {"kubeconfig", "context", "cluster", "user", "as", "as-group", "namespace"}
    given = {name.replace("-", "_"): value for name, value in line.given.items() if name in text}
    everywhere = "all-namespaces" in line.given
    return NamespaceSettings.model_validate({
        **given, "all_namespaces": everywhere, "request_timeout": SECONDS,
    })  # fmt: skip


def _listed(line: _Line, path: str) -> Iterator[dict[str, Any]]:
    """The metadata of one page of a collection."""
    found = _settings(line).reach.read(path, {"limit": str(MOST)}, metadata_only=True)
    for one in found.get("items") or ():
        yield one.get("metadata") or {}


def _node_names(line: _Line) -> Iterator[Candidate]:
    from footprint.cluster.paths import NODES  # noqa: PLC0415
    from footprint.keys import NODE_SUMMARY  # noqa: PLC0415

    for metadata in _listed(line, NODES):
        yield str(metadata["name"]), str((metadata.get("annotations") or {}).get(NODE_SUMMARY) or "")


def _pod_names(line: _Line) -> Iterator[Candidate]:
    from footprint.cluster import paths  # noqa: PLC0415

    namespace = _settings(line).chosen_namespace
    for metadata in _listed(line, paths.PODS if namespace is None else paths.pods(namespace)):
        yield str(metadata["name"]), ""


def _namespaces(line: _Line) -> Iterator[Candidate]:
    for metadata in _listed(line, "/api/v1/namespaces"):
        yield str(metadata["name"]), ""


def _workload_names(line: _Line) -> Iterator[Candidate]:
    from extender.model.trafficfootprint import API_VERSION, PLURAL  # noqa: PLC0415
    from footprint.cluster import paths  # noqa: PLC0415

    settings = _settings(line)
    path = paths.custom(API_VERSION, PLURAL, settings.chosen_namespace)
    for one in settings.reach.read(path, {"limit": str(MOST)}).get("items") or ():
        workload = (one.get("spec") or {}).get("workload")
        if isinstance(workload, str):
            yield workload, str((one.get("status") or {}).get("class") or "")


def _without_repeats(made: Source) -> Source:
    """Names that do not stand in the line yet."""
    return lambda line: (found for found in made(line) if found[0] not in line.names)


def _first_only(made: Source) -> Source:
    return lambda line: made(line) if not line.names else iter(())


def _of_kubeconfig(section: str) -> Source:
    def names(line: _Line) -> Iterator[Candidate]:
        import os  # noqa: PLC0415

        from plugin import kubeconfig  # noqa: PLC0415

        files = kubeconfig.existing(kubeconfig.Selection(line.given.get("kubeconfig", "")), os.environ)
        for name in kubeconfig.merged(map(kubeconfig.read, files))[section]:
            yield name, ""

    return names


_NAMES: Final[dict[str, Source]] = {
    "nodes": _without_repeats(_node_names),
    "pods": _without_repeats(_pod_names),
    "explain": _first_only(_pod_names),
    "workloads": _without_repeats(_workload_names),
    "workloads forget": _without_repeats(_workload_names),
    "workloads state": _first_only(_workload_names),
}
_VALUES: Final[dict[str, Source]] = {
    "namespace": _namespaces,
    "lease-namespace": _namespaces,
    "release-namespace": _namespaces,
    "node": _node_names,
    "workload": _workload_names,
    "context": _of_kubeconfig("contexts"),
    "cluster": _of_kubeconfig("clusters"),
    "user": _of_kubeconfig("users"),
}
