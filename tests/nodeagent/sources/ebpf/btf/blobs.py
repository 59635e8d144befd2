# SPDX-License-Identifier: Apache-2.0
"""Small BTF blobs, written as a compiler writes them."""

from __future__ import annotations

import struct

INT, PTR, ARRAY, STRUCT, UNION, TYPEDEF, CONST, FUNC, FUNC_PROTO = 1, 2, 3, 4, 5, 8, 10, 12, 13


class Writer:
    """Types in the order of their ids; ``first`` and ``strings_at`` are those of a module on top of a base."""

    def __init__(self, first: int = 1, strings_at: int = 0) -> None:
        self._strings_at = strings_at
        self._strings = bytearray() if strings_at else bytearray(b"\0")
        self._types = bytearray()
        self.next_id = first

    def name(self, text: str) -> int:
        if not text:
            return 0
        self._strings += text.encode() + b"\0"
        return self._strings_at + len(self._strings) - len(text.encode()) - 1

    def add(
        self, kind: int, name: str, value: int, *, vlen: int = 0, flag: bool = False, trailer: bytes = b""
    ) -> int:
        info = flag << 31 | kind << 24 | vlen
        self._types += struct.pack("=III", self.name(name), info, value) + trailer
        self.next_id += 1
        return self.next_id - 1

    def integer(self, name: str, size: int) -> int:
        return self.add(INT, name, size, trailer=struct.pack("=I", size * 8))

    def array(self, element: int, length: int) -> int:
        return self.add(ARRAY, "", 0, trailer=struct.pack("=III", element, 0, length))

    def record(
        self, name: str, size: int, *members: tuple[str, int, int], kind: int = STRUCT, flag: bool = False
    ) -> int:
        """Members are (name, type, offset in bits)."""
        trailer = b"".join(struct.pack("=III", self.name(n), t, o) for n, t, o in members)
        return self.add(kind, name, size, vlen=len(members), flag=flag, trailer=trailer)

    def function(self, name: str, *parameters: tuple[str, int]) -> int:
        trailer = b"".join(struct.pack("=II", self.name(n), t) for n, t in parameters)
        proto = self.add(FUNC_PROTO, "", 0, vlen=len(parameters), trailer=trailer)
        return self.add(FUNC, name, proto, vlen=1)

    def blob(self) -> bytes:
        header = struct.pack(
            "=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self._types), len(self._types), len(self._strings)
        )  # fmt: skip
        return header + bytes(self._types) + bytes(self._strings)
