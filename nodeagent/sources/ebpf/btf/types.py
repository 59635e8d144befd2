# SPDX-License-Identifier: Apache-2.0
"""Look up in BTF: a member's offset by its dotted path, a function's prototype, a type's id.

Enters: one blob, or a module's blob on top of vmlinux's. Leaves: numbers and names. Guarantees: results are exact,
or a BtfError names what is missing; cyclic and dangling references end in BtfError, never in a loop.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from nodeagent.sources.ebpf.btf.blob import Blob, BtfError, Reason, parse

_TYPE: Final = struct.Struct("=III")
_TRIPLE: Final = struct.Struct("=III")
_PAIR: Final = struct.Struct("=II")
_COMPONENT: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")

_DEPTH: Final = 32
"""Typedefs, qualifiers and anonymous members nest at most this deep in a kernel; more is a cycle."""


class TypeKind(IntEnum):
    """Kinds of types that are looked up by name or followed."""

    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    FLOAT = 16
    TYPE_TAG = 18
    ENUM64 = 19


_TAGS: Final[dict[int, str]] = {
    TypeKind.STRUCT: "struct ",
    TypeKind.UNION: "union ",
    TypeKind.ENUM: "enum ",
    TypeKind.ENUM64: "enum ",
}
_SIZED: Final = frozenset(
    {TypeKind.INT, TypeKind.STRUCT, TypeKind.UNION, TypeKind.ENUM, TypeKind.FLOAT, TypeKind.ENUM64}
)
_POINTER: Final = struct.calcsize("P")
_MODIFIERS: Final = frozenset(
    {TypeKind.TYPEDEF, TypeKind.VOLATILE, TypeKind.CONST, TypeKind.RESTRICT, TypeKind.TYPE_TAG}
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a function."""

    name: str
    type: str
    """Without qualifiers: ``struct nf_conn *``, ``unsigned int``, ``u32``."""


@dataclass(frozen=True, slots=True)
class Prototype:
    """A function as it can be attached to."""

    name: str
    id: int
    """BTF id of the function (kind FUNC), as the kernel numbers it."""
    parameters: tuple[Parameter, ...]

    def index(self, parameter: str) -> int | None:
        """Position of the argument of that name; None when there is none."""
        return next((i for i, found in enumerate(self.parameters) if found.name == parameter), None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member lies in its outermost type. Bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Record:
    name_at: int
    kind: int
    vlen: int
    flag: bool
    value: int
    """Size or type, by kind."""
    types: bytes
    """The section it was read from: a module's record may come from the kernel's blob."""
    at: int
    """Where its trailer begins."""

    def elements(self, shape: struct.Struct) -> Iterator[tuple[int, ...]]:
        """Its members, parameters and the like."""
        for index in range(self.vlen):
            yield shape.unpack_from(self.types, self.at + index * shape.size)


class Btf:
    """Types of the kernel, or of one module on top of the kernel's."""

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        """Raises BtfError for bytes that are not BTF."""
        self._blob: Blob = parse(data)
        self._base = base
        self._first: int = base.end if base else 1
        self._strings_at: int = base.strings_end if base else 0

    @property
    def end(self) -> int:
        """The first type id after this blob's."""
        return self._first + len(self._blob.positions)

    @property
    def strings_end(self) -> int:
        return self._strings_at + len(self._blob.strings)

    def find(self, kind: TypeKind, name: str) -> int | None:
        """Id of the type of that kind and name: this blob's own first, then its base's."""
        found = self._find_own(kind, name)
        if found is None and self._base is not None:
            return self._base.find(kind, name)
        return found

    def function(self, name: str) -> Prototype | None:
        """The prototype of a function of this blob itself (not of its base): only there it can be attached to."""
        found = self._find_own(TypeKind.FUNC, name)
        if found is None:
            return None
        proto = self._record(self._record(found).value)
        if proto.kind != TypeKind.FUNC_PROTO:
            raise BtfError(Reason.MALFORMED, f"BTF: {name} has no prototype")
        parameters = (Parameter(self._name(n), self.type_name(t)) for n, t in proto.elements(_PAIR))
        return Prototype(name, found, tuple(parameters))

    def place(self, struct_name: str, path: str) -> Place:
        """Offset and size of ``path`` (``tuplehash[1].tuple.src.u3``) inside ``struct struct_name``.

        Anonymous structs and unions are looked through. Raises BtfError for a path that does not exist, crosses
        a pointer, or ends in a bit field.
        """
        root = self.find(TypeKind.STRUCT, struct_name)
        if root is None:
            raise BtfError(Reason.NO_TYPE, f"BTF has no struct {struct_name}")
        current, offset = root, 0
        for component in path.split("."):
            match = _COMPONENT.fullmatch(component)
            if match is None:
                raise ValueError(f"{path!r} is not a member path")
            found = self._member(current, match[1], set())
            if found is None:
                raise BtfError(Reason.NO_MEMBER, f"BTF: struct {struct_name} has no member {path}")
            offset, current = offset + found[0], found[1]
            if match[2] is not None:
                current, size = self._element(current, int(match[2]), path)
                offset += int(match[2]) * size
        return Place(offset, self._size(current, 0))

    def size(self, struct_name: str) -> int:
        """Bytes of ``struct struct_name``. Raises BtfError."""
        root = self.find(TypeKind.STRUCT, struct_name)
        if root is None:
            raise BtfError(Reason.NO_TYPE, f"BTF has no struct {struct_name}")
        return self._record(root).value

    def type_name(self, type_id: int) -> str:
        """A type as C spells it, without qualifiers."""
        stars = ""
        for _ in range(_DEPTH):
            if type_id == 0:
                return f"void {stars}".rstrip()
            record = self._record(type_id)
            if record.kind == TypeKind.PTR:
                stars = "*" + stars
            elif record.kind not in _MODIFIERS or record.kind == TypeKind.TYPEDEF:
                return f"{_TAGS.get(record.kind, '')}{self._name(record.name_at)} {stars}".rstrip()
            type_id = record.value
        raise BtfError(Reason.MALFORMED, "BTF: a type refers to itself")

    def _find_own(self, kind: TypeKind, name: str) -> int | None:
        name_at = self._name_at(name)
        if name_at is None:
            return None
        types = self._blob.types
        words = memoryview(types).cast("I")  # every record is whole words, or the blob would not have parsed
        for index, at in enumerate(self._blob.positions):
            if words[at >> 2] == name_at and words[(at >> 2) + 1] >> 24 & 0x1F == kind:
                return self._first + index
        return None

    def _name_at(self, name: str) -> int | None:
        """Where ``name`` stands in the strings, as type records refer to it."""
        wanted = b"\0" + name.encode() + b"\0"
        if (found := self._blob.strings.find(wanted)) >= 0:
            return self._strings_at + found + 1
        if self._blob.strings.startswith(wanted[1:]):
            return self._strings_at
        return self._base._name_at(name) if self._base is not None else None

    def _name(self, name_at: int) -> str:
        if name_at < self._strings_at and self._base is not None:
            return self._base._name(name_at)
        start = name_at - self._strings_at
        if not 0 <= start < max(len(self._blob.strings), 1):
            raise BtfError(Reason.MALFORMED, f"BTF: a name lies beyond the strings ({name_at})")
        end = self._blob.strings.find(b"\0", start)
        return self._blob.strings[start : max(end, start)].decode("utf-8", "replace")

    def _record(self, type_id: int) -> _Record:
        if type_id < self._first:
            if self._base is not None:
                return self._base._record(type_id)
            raise BtfError(Reason.MALFORMED, f"BTF: type {type_id} has no members")
        index = type_id - self._first
        if index >= len(self._blob.positions):
            raise BtfError(Reason.MALFORMED, f"BTF: type {type_id} does not exist")
        at = self._blob.positions[index]
        name_at, info, value = _TYPE.unpack_from(self._blob.types, at)
        types = self._blob.types
        return _Record(name_at, info >> 24 & 0x1F, info & 0xFFFF, bool(info >> 31), value, types, at + _TYPE.size)

    def _member(self, type_id: int, name: str, searched: set[int], depth: int = 0) -> tuple[int, int] | None:
        """(byte offset, type) of a member, through anonymous structs and unions; None when there is none.

        Each type is searched once, so that types which contain themselves end, and cost no more than their number.
        """
        record = self._stripped(type_id)
        if record.kind not in (TypeKind.STRUCT, TypeKind.UNION) or type_id in searched or depth > _DEPTH:
            return None
        searched.add(type_id)
        for name_at, member, position in record.elements(_TRIPLE):
            bits = position & 0xFF_FFFF if record.flag else position
            own = self._name(name_at)
            if own == name:
                if (record.flag and position >> 24) or bits % 8:
                    raise BtfError(Reason.NO_MEMBER, f"BTF: member {name} is a bit field")
                return bits // 8, member
            if not own and (found := self._member(member, name, searched, depth + 1)) is not None:
                return bits // 8 + found[0], found[1]
        return None

    def _element(self, type_id: int, index: int, path: str) -> tuple[int, int]:
        """(type, size) of an array's elements."""
        record = self._stripped(type_id)
        if record.kind != TypeKind.ARRAY:
            raise BtfError(Reason.NO_MEMBER, f"BTF: {path} indexes what is no array")
        element, _, length = next(_array(record))
        if index >= length:
            raise BtfError(Reason.NO_MEMBER, f"BTF: {path} indexes beyond {length} elements")
        return element, self._size(element, 0)

    def _size(self, type_id: int, depth: int) -> int:
        record = self._stripped(type_id)
        if record.kind == TypeKind.PTR:
            return _POINTER
        if record.kind == TypeKind.ARRAY and depth < _DEPTH:
            element, _, length = next(_array(record))
            return self._size(element, depth + 1) * length
        if record.kind in _SIZED:
            return record.value
        raise BtfError(Reason.MALFORMED, "BTF: a member has no size")

    def _stripped(self, type_id: int) -> _Record:
        """The record behind typedefs and qualifiers."""
        record = self._record(type_id)
        for _ in range(_DEPTH):
            if record.kind not in _MODIFIERS:
                return record
            record = self._record(record.value)
        raise BtfError(Reason.MALFORMED, "BTF: a type refers to itself")


def _array(record: _Record) -> Iterator[tuple[int, ...]]:
    yield _TRIPLE.unpack_from(record.types, record.at)
