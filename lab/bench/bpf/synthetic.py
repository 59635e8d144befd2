# SPDX-License-Identifier: Apache-2.0
"""The kernel program's helpers without packets: conntrack entries written into a map, run by BPF_PROG_RUN.

For tests and benchmarks on kernels whose conntrack cannot be hooked. The same C is compiled by the same bcc,
passes this kernel's verifier, and works on real maps. Needs root and BTF. Raises SourceUnavailable when the
program cannot be built, and OSError when the kernel refuses it.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from functools import cache
from typing import Final

from nodeagent.sources.ebpf import programs
from nodeagent.sources.ebpf.compiling.build import Build, BuildRequest, build
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import MapType, ProgramType, Run
from nodeagent.sources.ebpf.kernel.layout import Config
from nodeagent.sources.ebpf.kernel.maps import Maps, Sizes

NAMESPACE: Final = 4_026_531_840
"""Inode of namespace 0, whose connections count."""
FOREIGN: Final = 1
"""Index of a namespace whose connections do not count."""

_ENTRIES, _COMMAND, _NAMESPACES = 101, 102, 103
_RECORD: Final = 512
_COMMAND_SHAPE: Final = struct.Struct("=8I")
_FRAME: Final = bytes(64)
_CONFIRMED: Final = 1 << 3
_TEMPLATE: Final = 1 << 11
_FAMILY: Final = {4: 2, 16: 10}


class What(IntEnum):
    """enum what of bpf/synthetic.bpf.c."""

    NOTHING = 0
    ACCOUNT = 1
    BIRTH = 2
    DEATH = 3
    NEXT_NEW = 4
    MEET = 5


@cache
def _built(mode: Mode) -> Build:
    """The compiled program. Cached, since compiling takes seconds and does not depend on sizes."""
    return build(BuildRequest(mode, file="synthetic.bpf.c", functions={"synthetic": "synthetic"}))


class Synthetic:
    """``entries`` connections that exist only in these maps."""

    def __init__(self, entries: int = 16, sizes: Sizes | None = None, mode: Mode = Mode.KPROBE) -> None:
        """``mode`` decides how fields of an entry are read: by plain loads under fentry, else by a helper."""
        built = _built(mode)
        self._at = {name: int(value) for name, value in built.plan.defines.items() if value.isdigit()}
        self.entries = entries
        self.maps = Maps.create(sizes or Sizes(flows=max(2 * entries, 1024), addresses=64, slots=64, seeds=64))
        self._own: dict[int, int] = {}
        self._records: dict[int, bytearray] = {}
        try:
            for number, width, count in ((_ENTRIES, _RECORD, entries), (_COMMAND, _COMMAND_SHAPE.size, 1),
                                         (_NAMESPACES, _RECORD, 2)):  # fmt: skip
                self._own[number] = bpf.map_create(
                    MapType.ARRAY, key_size=4, value_size=width, max_entries=count
                )  # fmt: skip
            code = programs.relocated(built.code["synthetic"], self.maps.numbered() | self._own)
            self._program = bpf.program_load(ProgramType.SCHED_CLS, code, name="tf_synthetic")
        except BaseException:
            self._release()
            raise
        for index, inode in ((0, NAMESPACE), (FOREIGN, NAMESPACE + 1)):
            record = bytearray(_RECORD)
            struct.pack_into("=I", record, self._at["NET_INODE"], inode)
            bpf.map_update(self._own[_NAMESPACES], struct.pack("=I", index), bytes(record))

    def configure(self, config: Config) -> None:
        self.maps.write_config(config)

    def connect(
        self,
        entry: int,
        source: bytes,
        destination: bytes,
        *,
        reply_source: bytes | None = None,
        reply_destination: bytes | None = None,
        protocol: int = 6,
        ports: tuple[int, int] = (40_000, 80),
        zone: int = 0,
        confirmed: bool = True,
    ) -> None:
        """Write an entry's tuples (packed addresses) and state."""
        record = bytearray(_RECORD)
        self._tuple(record, "CT_ORIGINAL", source, destination, ports=ports, protocol=protocol)
        back = (reply_source or destination, reply_destination or source)
        self._tuple(record, "CT_REPLY", *back, ports=(ports[1], ports[0]), protocol=protocol)
        struct.pack_into("=H", record, self._at["CT_ZONE"], zone)
        self._records[entry] = record
        self._write(entry, _CONFIRMED if confirmed else 0)

    def confirm(self, entry: int, *, template: bool = False) -> None:
        """Mark the entry as confirmed, and with ``template`` also as a template of a rule."""
        self._write(entry, _CONFIRMED | (_TEMPLATE if template else 0))

    def run(
        self,
        what: What,
        entry: int = 0,
        *,
        direction: int = 0,
        packets: int = 1,
        size: int = 0,
        namespace: int = 0,
        repeat: int = 1,
    ) -> Run:
        """Run the helper ``what`` on an entry, ``repeat`` times."""
        command = _COMMAND_SHAPE.pack(what, entry, namespace, direction, packets, size, 0, self.entries)
        bpf.map_update(self._own[_COMMAND], bytes(4), command)
        return bpf.program_run(self._program, _FRAME, repeat=repeat)

    def close(self) -> None:
        os.close(self._program)
        self._release()

    def __enter__(self) -> Synthetic:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, entry: int, status: int) -> None:
        record = self._records[entry]
        struct.pack_into("=Q", record, self._at["CT_STATUS"], status)
        bpf.map_update(self._own[_ENTRIES], struct.pack("=I", entry), bytes(record))

    def _release(self) -> None:
        for fd in self._own.values():
            os.close(fd)
        self._own = {}
        self.maps.close()

    def _tuple(
        self,
        record: bytearray,
        at: str,
        source: bytes,
        destination: bytes,
        *,
        ports: tuple[int, int],
        protocol: int,
    ) -> None:
        start, where = self._at[at], self._at
        for name, address in (("TUPLE_SOURCE", source), ("TUPLE_DESTINATION", destination)):
            record[start + where[name] : start + where[name] + len(address)] = address
        struct.pack_into(">H", record, start + where["TUPLE_SOURCE_PORT"], ports[0])
        struct.pack_into(">H", record, start + where["TUPLE_DESTINATION_PORT"], ports[1])
        struct.pack_into("=H", record, start + where["TUPLE_FAMILY"], _FAMILY[len(source)])
        record[start + where["TUPLE_PROTOCOL"]] = protocol
