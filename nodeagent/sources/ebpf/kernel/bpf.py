# SPDX-License-Identifier: Apache-2.0
"""The bpf(2) system call: descriptors in and out, no decisions.

Effects only. Every function raises OSError with the kernel's errno; a refused program carries the verifier's log.
The numbers are the kernel's stable interface (include/uapi/linux/bpf.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final


class MapType(IntEnum):
    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    RINGBUF = 27


class ProgramType(IntEnum):
    KPROBE = 2
    SCHED_CLS = 3
    XDP = 6
    CGROUP_SKB = 8
    RAW_TRACEPOINT = 17
    TRACING = 26


class AttachType(IntEnum):
    NONE = 0
    CGROUP_INGRESS = 0
    CGROUP_EGRESS = 1
    TRACE_FENTRY = 24
    PERF_EVENT = 41
    TCX_INGRESS = 46
    TCX_EGRESS = 47
    NETKIT_PRIMARY = 54
    NETKIT_PEER = 55


class _Command(IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    MAP_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_RUN = 10
    PROG_FD_BY_ID = 13
    OBJ_INFO = 15
    PROG_QUERY = 16
    RAW_TRACEPOINT_OPEN = 17
    BTF_FD_BY_ID = 19
    BTF_NEXT_ID = 23
    MAP_LOOKUP_BATCH = 24
    LINK_CREATE = 28


ANY: Final = 0
"""Update: create the entry or replace it."""
NO_EXIST: Final = 1

F_NO_PREALLOC: Final = 1

_MACHINE: Final = platform.machine()
_BPF: Final = {"x86_64": 321, "aarch64": 280}.get(_MACHINE)
_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241}.get(_MACHINE)
_MEMBARRIER: Final = {"x86_64": 324, "aarch64": 283}.get(_MACHINE)
_MEMBARRIER_GLOBAL: Final = 1
_LONGEST_RUN: Final = 0.01
"""Seconds; a run of a program takes microseconds."""
_KPROBE_TYPE: Final = Path("/sys/bus/event_source/devices/kprobe/type")
_LOG_BYTES: Final = 4 * 2**20
_LOG_LEVEL: Final = 1
_LICENSE: Final = b"GPL"  # bpf_probe_read_kernel is offered to GPL programs only

_libc: Final = ctypes.CDLL(None, use_errno=True)
_UNUSED: Final = (0,) * 5
_Call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, *[ctypes.c_long] * len(_UNUSED), use_errno=True)
_call: Final = _Call(("syscall", _libc))
"""With its types declared once, because a reading makes hundreds of calls."""


class VerifierError(OSError):
    """The kernel refused a program; ``log`` is the verifier's whole log."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, os.strerror(number))
        self.log = log

    @property
    def verdict(self) -> str:
        """The line that says why: the last one that is neither statistics nor an instruction."""
        lines = [line.strip() for line in self.log.splitlines()]
        useful = [
            line for line in lines if line and not line.startswith(("processed ", "verification time", "stack "))
        ]
        return useful[-1] if useful else os.strerror(self.errno or 0)


def _system_call(number: int | None, *arguments: int) -> int:
    if number is None:
        raise OSError(errno.ENOSYS, f"the system call number on {_MACHINE} is unknown")
    result: int = _call(number, *arguments, *_UNUSED[len(arguments) :])
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _bpf(command: _Command, attr: bytes) -> tuple[int, bytes]:
    """Result and the attributes as the kernel left them."""
    buffer = _buffer(len(attr), attr)
    result = _system_call(_BPF, command, ctypes.addressof(buffer), len(attr))
    return result, buffer.raw


@cache
def _shape(size: int) -> type[ctypes.Array[ctypes.c_char]]:
    return ctypes.c_char * size


def _buffer(size: int, content: bytes = b"") -> ctypes.Array[ctypes.c_char]:
    """``size`` bytes that the kernel may read and write, ``content`` first and zeros behind it."""
    buffer = _shape(size)()
    buffer.raw = content
    return buffer


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def map_create(
    kind: MapType, *, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
) -> int:
    """A new map's descriptor."""
    attr = struct.pack(
        "=IIIIIII16s", kind, key_size, value_size, max_entries, flags, 0, 0, name.encode()[:15]
    )  # fmt: skip
    return _bpf(_Command.MAP_CREATE, attr)[0]


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """The value, or None when there is no such entry. ``value_size`` is of all CPUs for per-CPU maps."""
    key_buffer, value = _buffer(len(key), key), _buffer(value_size)
    try:
        _bpf(_Command.MAP_LOOKUP, struct.pack("=I4xQQQ", fd, _address(key_buffer), _address(value), 0))
    except FileNotFoundError:
        return None
    return value.raw


def map_lookup_batch(fd: int, count: int, *, key_size: int, value_size: int) -> bytes:
    """The values of the first ``count`` entries of an array, one after the other. ``value_size`` is of all CPUs
    for per-CPU arrays, which answer so from kernel 5.13 on."""
    following, keys = _buffer(key_size), _buffer(key_size * count)
    values = _buffer(value_size * count)
    attr = struct.pack("=QQQQIIQQ", 0, _address(following), _address(keys), _address(values), count, fd, 0, 0)
    _bpf(_Command.MAP_LOOKUP_BATCH, attr)
    return values.raw


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries of a hash map, one after the other."""

    keys: bytes
    values: bytes
    following: bytes | None
    """Where the next chunk begins; None: this was the last one."""


def map_walk(fd: int, begin: bytes | None, count: int, *, key_size: int, value_size: int) -> Chunk:
    """About ``count`` entries of a hash map from ``begin`` (None: from its beginning). They do not count as used,
    so the walk changes nothing in what an LRU map gives up first. ENOSPC: ``count`` is too small for one bucket.
    """
    start = _buffer(4, begin) if begin is not None else None
    following, keys, values = _buffer(4), _buffer(key_size * count), _buffer(value_size * count)
    attr = _buffer(56, struct.pack(
        "=QQQQIIQQ", _address(start) if start is not None else 0, _address(following), _address(keys),
        _address(values), count, fd, 0, 0,
    ))  # fmt: skip
    last = False
    try:
        _system_call(_BPF, _Command.MAP_LOOKUP_BATCH, _address(attr), 56)
    except FileNotFoundError:  # no more after these, which it has written all the same
        last = True
    found = struct.unpack_from("=I", attr, 32)[0]
    return Chunk(
        bytes(memoryview(keys)[: found * key_size]), bytes(memoryview(values)[: found * value_size]),
        None if last else following.raw,
    )  # fmt: skip


def map_update(fd: int, key: bytes, value: bytes, flags: int = ANY) -> None:
    key_buffer = _buffer(len(key), key)
    value_buffer = _buffer(len(value), value)
    _bpf(_Command.MAP_UPDATE, struct.pack("=I4xQQQ", fd, _address(key_buffer), _address(value_buffer), flags))


def map_delete(fd: int, key: bytes) -> bool:
    """Whether there was such an entry."""
    key_buffer = _buffer(len(key), key)
    try:
        _bpf(_Command.MAP_DELETE, struct.pack("=I4xQQQ", fd, _address(key_buffer), 0, 0))
    except FileNotFoundError:
        return False
    return True


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key after ``key`` (None: the first), or None after the last."""
    key_buffer = _buffer(key_size, key) if key is not None else None
    following = _buffer(key_size)
    at = _address(key_buffer) if key_buffer is not None else 0
    try:
        _bpf(_Command.MAP_NEXT_KEY, struct.pack("=I4xQQQ", fd, at, _address(following), 0))
    except FileNotFoundError:
        return None
    return following.raw


@dataclass(frozen=True, slots=True)
class Attachment:
    """What an fentry program is loaded for: a function's BTF id, in vmlinux (descriptor 0) or in a module."""

    btf_id: int
    btf_fd: int = 0


def program_load(
    kind: ProgramType,
    instructions: bytes,
    *,
    name: str = "",
    attach: Attachment | None = None,
    attach_type: AttachType = AttachType.NONE,
) -> int:
    """A loaded program's descriptor. Raises VerifierError when the verifier refuses it."""
    attach_type = AttachType.TRACE_FENTRY if kind is ProgramType.TRACING else attach_type
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)

    def attributes(log: ctypes.Array[ctypes.c_char] | None) -> bytes:
        log_level, log_size, log_at = (_LOG_LEVEL, _LOG_BYTES, _address(log)) if log is not None else (0, 0, 0)
        return struct.pack(
            "=IIQQIIQII16sIIIIQIIQIII",
            kind, len(instructions) // 8, _address(code), _address(license_text), log_level, log_size, log_at,
            0, 0, name.encode()[:15], 0, attach_type, 0, 0, 0, 0, 0, 0, 0,
            attach.btf_id if attach else 0, attach.btf_fd if attach else 0,
        )  # fmt: skip

    try:
        return _bpf(_Command.PROG_LOAD, attributes(None))[0]
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
    # The log slows the verifier and needs a large buffer, so only a refusal requests it.
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return _bpf(_Command.PROG_LOAD, attributes(log))[0]
    except OSError as error:
        raise VerifierError(error.errno or 0, log.value.decode("utf-8", "replace")) from error


def attach_fentry(program: int) -> int:
    """A link's descriptor: closing the last one detaches."""
    return _bpf(_Command.RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", 0, program))[0]


def attach_raw_tracepoint(program: int, tracepoint: str) -> int:
    """A link's descriptor: closing the last one detaches."""
    name = ctypes.create_string_buffer(tracepoint.encode())
    return _bpf(_Command.RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", _address(name), program))[0]


def attach_cgroup(program: int, cgroup: int, attach_type: AttachType) -> int:
    """A link beside all others at the cgroup (a descriptor of its directory). EPERM also where somebody has it, or
    one above, for himself."""
    return _bpf(_Command.LINK_CREATE, struct.pack("=IIII48x", program, cgroup, attach_type, 0))[0]


@dataclass(frozen=True, slots=True)
class Attached:
    """What is attached at a cgroup itself, or at an interface."""

    flags: int
    """0 with a program: the exclusive kind, which suffers no other."""
    programs: tuple[int, ...]
    """Ids."""


def query_cgroup(cgroup: int, attach_type: AttachType, most: int = 64) -> Attached:
    """Who is at the cgroup. Needs CAP_NET_ADMIN; ENOSPC for more than ``most``."""
    ids = _buffer(4 * most)
    # All 64 bytes: from 6.6 on the kernel writes the last ones, whatever size it is told.
    attr = struct.pack("=IIIIQIIQQQQ", cgroup, attach_type, 0, 0, _address(ids), most, 0, 0, 0, 0, 0)
    _, left = _bpf(_Command.PROG_QUERY, attr)
    flags, count = struct.unpack_from("=I", left, 12)[0], struct.unpack_from("=I", left, 24)[0]
    return Attached(flags, struct.unpack_from(f"={min(count, most)}I", ids.raw))


def query_attached(interface: int, attach_type: AttachType, most: int = 64) -> Attached:
    """Who is at an interface, by its index. Needs CAP_NET_ADMIN, and a kernel that has such hooks."""
    return query_cgroup(interface, attach_type, most)  # the kernel takes either at the same place


def program_name(number: int) -> str:
    """The name of a program by its id. Needs CAP_SYS_ADMIN. Raises OSError."""
    fd = _bpf(_Command.PROG_FD_BY_ID, struct.pack("=III", number, 0, 0))[0]
    try:
        return object_info(fd)[64:80].rstrip(b"\0").decode("utf-8", "replace")
    finally:
        os.close(fd)


def attach_perf_event(program: int, event: int) -> int:
    """A link between a program and a perf event (kernel 5.15 and later)."""
    return _bpf(_Command.LINK_CREATE, struct.pack("=IIII48x", program, event, AttachType.PERF_EVENT, 0))[0]


def open_kprobe(function: str) -> int:
    """A perf event on the entry of a kernel function. ENOSYS: this kernel has no kprobes."""
    try:
        kind = int(_KPROBE_TYPE.read_text())
    except FileNotFoundError as error:
        raise OSError(errno.ENOSYS, "this kernel has no kprobes") from error
    name = ctypes.create_string_buffer(function.encode())
    size = 112  # PERF_ATTR_SIZE_VER5
    attr = struct.pack("=IIQQQQQIIQQ", kind, size, 0, 0, 0, 0, 0, 0, 0, _address(name), 0).ljust(size, b"\0")
    buffer = ctypes.create_string_buffer(attr, size)
    every_process, first_cpu, no_group, close_on_exec = -1, 0, -1, 8
    return _system_call(
        _PERF_EVENT_OPEN, _address(buffer), every_process, first_cpu, no_group, close_on_exec
    )  # fmt: skip


def pin(fd: int, path: Path) -> None:
    """Keep a map, program or link alive under a path of a bpf file system."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    _bpf(_Command.OBJ_PIN, struct.pack("=QII", _address(name), fd, 0))


def open_pinned(path: Path) -> int:
    """A descriptor of what is pinned at ``path``."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return _bpf(_Command.OBJ_GET, struct.pack("=QII", _address(name), 0, 0))[0]


def object_info(fd: int, size: int = 256) -> bytes:
    """The kernel's description of a map, program, link or BTF object, as much of it as fits ``size`` bytes."""
    info = ctypes.create_string_buffer(size)
    _, attr = _bpf(_Command.OBJ_INFO, struct.pack("=IIQ", fd, size, _address(info)))
    return info.raw[: struct.unpack_from("=I", attr, 4)[0]].ljust(size, b"\0")


def module_btf(module: str) -> int:
    """A descriptor of a loaded module's BTF. Raises FileNotFoundError when there is none, PermissionError
    without CAP_SYS_ADMIN, which listing the kernel's objects needs.
    """
    number = 0
    while True:
        _, attr = _bpf(_Command.BTF_NEXT_ID, struct.pack("=III", number, 0, 0))  # ENOENT after the last
        number = struct.unpack_from("=I", attr, 4)[0]
        fd = _bpf(_Command.BTF_FD_BY_ID, struct.pack("=III", number, 0, 0))[0]
        if _btf_name(fd) == module:
            return fd
        os.close(fd)


def _btf_name(fd: int) -> str:
    name = ctypes.create_string_buffer(64)
    info = ctypes.create_string_buffer(struct.pack("=QIIQII", 0, 0, 0, _address(name), len(name), 0), 32)
    _bpf(_Command.OBJ_INFO, struct.pack("=IIQ", fd, len(info), _address(info)))
    return name.value.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Run:
    """Outcome of a test run."""

    result: int
    nanoseconds: int
    """Per repetition."""


def program_run(program: int, data: bytes, *, repeat: int) -> Run:
    """Run a packet program ``repeat`` times over ``data``."""
    packet = ctypes.create_string_buffer(data, len(data))
    attr = struct.pack("=IIIIQQIIIIQQ", program, 0, len(data), 0, _address(packet), 0, repeat, 0, 0, 0, 0, 0)
    _, left = _bpf(_Command.PROG_RUN, attr)
    return Run(struct.unpack_from("=I", left, 4)[0], struct.unpack_from("=I", left, 36)[0])


def wait_for_runs() -> None:
    """Return after a grace period of the kernel: every run of a program that was under way has ended then."""
    try:
        _system_call(_MEMBARRIER, _MEMBARRIER_GLOBAL, 0)
    except OSError:  # kernels with nohz_full refuse it
        time.sleep(_LONGEST_RUN)


def possible_cpus(path: Path = Path("/sys/devices/system/cpu/possible")) -> int:
    """How many values a per-CPU map returns: one for each possible CPU; gaps in the list do not count."""
    spans = [[int(number) for number in span.split("-")] for span in path.read_text().strip().split(",")]
    return sum(span[-1] - span[0] + 1 for span in spans)
