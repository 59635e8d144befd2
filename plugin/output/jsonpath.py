# SPDX-License-Identifier: Apache-2.0
"""kubectl's JSONPath templates: text with expressions in braces.

Enters: a template and JSON. Leaves: text. The expressions are RFC 9535's, which ``python-jsonpath`` evaluates;
here are the differences of kubectl's dialect. It has literal text, ``{range}`` and ``{end}``, quoted text, paths
without ``$``, and a backslash that takes a dot into a name. Raises TemplateError alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from jsonpath import JSONPathEnvironment
from jsonpath.exceptions import JSONPathError

_MAX_WAYS: Final = 64
_MAX_DEPTH: Final = 100
"""Deepest JSON that ``..`` descends into; ours has a tenth of it."""


class TemplateError(ValueError):
    """The template cannot be understood; the message names the place."""


class _Environment(JSONPathEnvironment):
    max_recursion_depth = _MAX_DEPTH


_ENVIRONMENT: Final = _Environment()
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b"}
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<word>range|end)(?=[\s}]|$))"""
)
_NAME: Final = re.compile(r"(?:\\.|[^\\.\[\]{}\s'\"()=<>!,|&])+")
_INDEX: Final = re.compile(r"\s*(?:\*|-?\d*\s*:\s*-?\d*(?:\s*:\s*-?\d*)?|-?\d+(?:\s*,\s*-?\d+)*)\s*")
_QUOTED: Final = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
_OPERATOR: Final = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")
_LITERAL: Final = re.compile(r"-?\d+(?:\.\d+)?|true|false|null|nil")


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Path:
    queries: tuple[str, ...]
    """RFC 9535, from ``$``. A union of names is several: kubectl goes through all for each name in turn."""
    rooted: bool
    """It begins at the document, also inside a range."""


@dataclass(frozen=True, slots=True)
class _Range:
    over: _Path
    body: tuple[_Text | _Path | _Range, ...]


_Part = _Text | _Path | _Range


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was understood."""

    parts: tuple[_Part, ...]

    def of(self, value: Any) -> str:
        """The text that it makes of ``value``. A path that leads nowhere makes none, as with kubectl."""
        return "".join(_shown(self.parts, value, value))


def compiled(text: str) -> Template:
    """The template ``text``. Raises TemplateError."""
    parser = _Parser(text)
    parts = parser.parts(top=True)
    for query in (query for path in _paths(parts) for query in path.queries):
        try:
            _ENVIRONMENT.compile(query)
        except JSONPathError as error:
            raise TemplateError(f"{query!r} is no JSONPath ({' '.join(str(error).split())[:100]})") from error
    return Template(parts)


def values(path: str, value: Any) -> list[Any]:
    """What a single path such as ``.metadata.name`` or ``{.metadata.name}`` finds. Raises TemplateError."""
    template = compiled(path if path.startswith("{") else f"{{{path}}}")
    if len(template.parts) != 1 or not isinstance(template.parts[0], _Path):
        raise TemplateError(f"{path!r} is no single path such as .metadata.name")
    return _found(template.parts[0], value, value)


def _paths(parts: Sequence[_Part]) -> Iterator[_Path]:
    for part in parts:
        if isinstance(part, _Path):
            yield part
        elif isinstance(part, _Range):
            yield part.over
            yield from _paths(part.body)


def _found(path: _Path, value: Any, root: Any) -> list[Any]:
    start = root if path.rooted else value
    try:
        return [found for query in path.queries for found in _ENVIRONMENT.findall(query, start)]
    except (JSONPathError, TypeError, ValueError) as error:
        raise TemplateError(f"{path.queries[0]!r}: {' '.join(str(error).split())[:100]}") from error


def _shown(parts: Sequence[_Part], value: Any, root: Any) -> Iterator[str]:
    for part in parts:
        if isinstance(part, _Text):
            yield part.text
        elif isinstance(part, _Path):
            yield " ".join(map(_spelled, _found(part, value, root)))
        else:
            for one in _found(part.over, value, root):
                yield from _shown(part.body, one, root)


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class _Parser:
    """One pass from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def parts(self, *, top: bool) -> tuple[_Part, ...]:
        """Up to the end of the text, or of the range that is open."""
        found: list[_Part] = []
        while self._at < len(self._text):
            literal, brace, _ = self._text[self._at :].partition("{")
            if literal:
                found.append(_Text(literal))
            self._at += len(literal) + len(brace)
            if not brace:
                break
            if self._action(found):
                if top:
                    raise TemplateError("{end} stands without a {range}")
                return tuple(found)
        if not top:
            raise TemplateError("a {range} has no {end}")
        return tuple(found)

    def _action(self, found: list[_Part]) -> bool:
        """What stands up to the closing brace; whether it ends a range."""
        while True:
            self._skip()
            if self._peek() == "}":
                self._at += 1
                return False
            if self._at >= len(self._text):
                raise TemplateError("a brace is not closed")
            token = _TOKEN.match(self._text, self._at)
            if token is None:
                found.append(self._path())
                continue
            self._at = token.end()
            if token["text"]:
                found.append(_Text(_unquoted(token["text"])))
                continue
            if token["word"] == "range":
                self._skip()
                over = self._path()
                self._close()
                found.append(_Range(over, self.parts(top=False)))
                return False
            self._close()
            return True

    def _close(self) -> None:
        self._skip()
        if self._peek() != "}":
            raise TemplateError(f"a closing brace is missing before {self._text[self._at :][:20]!r}")
        self._at += 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        while self._peek().isspace():
            self._at += 1

    def _path(self) -> _Path:
        begins = self._at
        rooted = self._peek() == "$"
        if self._peek() in ("$", "@"):
            self._at += 1
        queries = tuple(f"${segments}" for segments in self._segments())
        if self._at == begins:
            raise TemplateError(f"a path such as .metadata.name is missing before {self._text[begins:][:20]!r}")
        return _Path(queries, rooted)

    def _segments(self) -> list[str]:
        """What follows a start; several where a union has several names."""
        queries = [""]
        while self._peek() in (".", "["):
            before = ""
            if self._peek() == ".":
                self._at += 1
                if self._peek() == ".":
                    self._at += 1
                    before = ".."
            ways = self._bracket() if self._peek() == "[" else [self._name(required=bool(before))]
            queries = [f"{query}{before}{way}" for way in ways for query in queries]
            if len(queries) > _MAX_WAYS:
                raise TemplateError(f"its unions name more than {_MAX_WAYS} ways")
        return queries

    def _name(self, *, required: bool) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            if required:
                raise TemplateError(f"a name is missing before {self._text[self._at :][:20]!r}")
            return ""  # {.}: the value itself
        self._at = match.end()
        name = _bare(match[0])
        return "[*]" if name == "*" else f"[{json.dumps(name)}]"

    def _bracket(self) -> list[str]:
        self._at += 1
        self._skip()
        if self._text.startswith("?", self._at):
            inside = [f"[{self._filter()}]"]
        elif index := _INDEX.match(self._text, self._at):
            self._at, inside = index.end(), [f"[{index[0].strip()}]"]
        else:
            inside = self._names()
        self._skip()
        if self._peek() != "]":
            raise TemplateError(f"a bracket is not closed before {self._text[self._at :][:20]!r}")
        self._at += 1
        return inside

    def _names(self) -> list[str]:
        names = []
        while quoted := _QUOTED.match(self._text, self._at):
            # As kubectl, a dot in quotes leads on, unless a backslash stands before it.
            parts = re.findall(r"(?:\\.|[^\\.])+", quoted[0][1:-1])
            names.append("".join(f"[{json.dumps(_bare(part))}]" for part in parts))
            self._at = quoted.end()
            self._skip()
            if self._peek() != ",":
                break
            self._at += 1
            self._skip()
        if not names:
            raise TemplateError(f"{self._text[self._at :][:20]!r} is no index, slice, quoted name or filter")
        return names

    def _filter(self) -> str:
        self._at += 1
        self._skip()
        if self._peek() != "(":
            raise TemplateError('a filter is written as [?(@.name=="value")]')
        self._at += 1
        self._skip()
        left = self._operand()
        inside = left
        if operator := _OPERATOR.match(self._text, self._at):
            self._at = operator.end()
            # As kubectl, what is not there is neither equal nor unequal to anything.
            exists = f"{left} && " if left.startswith(("@", "$")) else ""
            inside = f"{exists}{left} {operator[1]} {self._operand()}"
        self._skip()
        if self._peek() != ")":
            raise TemplateError(f"a filter is not closed before {self._text[self._at :][:20]!r}")
        self._at += 1
        return f"?{inside}"

    def _operand(self) -> str:
        if quoted := _QUOTED.match(self._text, self._at):
            self._at = quoted.end()
            return json.dumps(_unquoted(quoted[0]))
        if literal := _LITERAL.match(self._text, self._at):
            self._at = literal.end()
            return "null" if literal[0] == "nil" else literal[0]
        if self._peek() in ("@", "$"):
            begin = self._peek()
            self._at += 1
            return begin + self._segments()[0]
        raise TemplateError(f"a filter compares paths from @ and values, not {self._text[self._at :][:20]!r}")


def _bare(name: str) -> str:
    """A name without the backslashes that take dots into it."""
    return re.sub(r"\\(.)", r"\1", name)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text[1:-1])
