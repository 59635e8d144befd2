# SPDX-License-Identifier: Apache-2.0
"""Names of people's things inside our sentences, marked so that they can be replaced.

Enters: names from the cluster. Leaves: marked text, and from it plain text with the names, or with aliases in
their place. Pure. Guarantees: a marked name never survives ``told`` with aliases, and equal names get equal
aliases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

_OPEN, _BETWEEN, _CLOSE = "\x02", "\x1f", "\x03"
_MARKED: Final = re.compile(f"{_OPEN}([^{_BETWEEN}]*){_BETWEEN}([^{_CLOSE}]*){_CLOSE}")
_MARKS: Final = str.maketrans("", "", _OPEN + _BETWEEN + _CLOSE)


class Kind(StrEnum):
    """What a name names. The value begins its alias."""

    NODE = "node"
    NAMESPACE = "namespace"
    POD = "pod"
    WORKLOAD = "workload"
    OBJECT = "object"
    """Of a release or of a control plane."""
    ADDRESS = "address"
    IMAGE = "image"
    SUBJECT = "subject"
    """Of a certificate."""


Aliases = Callable[[Kind, str], str] | None
"""What stands for a name; None: the name itself."""
NO_ALIASES: Final[Aliases] = None


class Anonymiser:
    """Gives each name an alias of its own, by order of appearance."""

    def __init__(self) -> None:
        self._known: dict[tuple[Kind, str], str] = {}
        self._counts: dict[Kind, int] = {}

    def __call__(self, kind: Kind, name: str) -> str:
        if not name:
            return ""
        alias = self._known.get((kind, name))
        if alias is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            alias = self._known[kind, name] = f"{kind.value}-{self._counts[kind]}"
        return alias


def name(kind: Kind, text: object) -> str:
    """``text``, marked as a name."""
    return f"{_OPEN}{kind.value}{_BETWEEN}{str(text).translate(_MARKS)}{_CLOSE}"


def told(text: str, aliases: Aliases = NO_ALIASES) -> str:
    """``text`` for people, with names or with what stands for them."""
    if aliases is None:
        return _MARKED.sub(lambda match: match[2], text)
    return _MARKED.sub(lambda match: aliases(Kind(match[1]), match[2]), text)


def node(text: object) -> str:
    """A marked Node."""
    return name(Kind.NODE, text)


def namespace(text: object) -> str:
    """A marked namespace."""
    return name(Kind.NAMESPACE, text)


def pod(text: object) -> str:
    """A marked Pod."""
    return name(Kind.POD, text)


def thing(text: object) -> str:
    """A marked object of a release or a control plane."""
    return name(Kind.OBJECT, text)


def address(text: object) -> str:
    """A marked address."""
    return name(Kind.ADDRESS, text)
