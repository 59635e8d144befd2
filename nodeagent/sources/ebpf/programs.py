# SPDX-License-Identifier: Apache-2.0
"""Load and attach what was compiled.

Enters: a ``Build`` and the maps. Leaves: ``Programs``, which hold the descriptors; closing them detaches. Effects
only. Every refusal becomes an EbpfUnavailable that names its cause.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from nodeagent.sources.base import ProgramRuns
from nodeagent.sources.ebpf.compiling.build import Build
from nodeagent.sources.ebpf.compiling.hooks import Hook, Mode, Plan, Role
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import Attachment, ProgramType, VerifierError
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable

LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
STATUS: Final = Path("/proc/thread-self/status")
_CAPABILITIES: Final = {"CAP_BPF": 39, "CAP_PERFMON": 38, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
_INCLUDED: Final = ("CAP_BPF", "CAP_PERFMON")
"""The kernel takes CAP_SYS_ADMIN for these."""
_HELPER_WITHHELD: Final = re.compile(r"(?:unknown func|cannot use helper) bpf_probe_read(?:_kernel)?#")
"""Every kernel offers tracing programs these helpers (bcc chooses which), unless it is locked down."""
_LOAD_64: Final = 0x18
_PSEUDO_MAPS: Final = (1, 2)
"""A reference to a map, and to the value of its only entry."""
_RUNS: Final = struct.Struct("=192xQQQ")  # bpf_prog_info: run_time_ns, run_cnt, recursion_misses
_LINK_INFO: Final = struct.Struct("=I12xI28xQ")  # bpf_link_info: type, perf_event.type, perf_event.kprobe.missed
_KPROBE_LINK: Final = (7, 3)  # BPF_LINK_TYPE_PERF_EVENT, BPF_PERF_EVENT_KPROBE


class FunctionRefused(Exception):  # noqa: N818 - leads to another choice, not to a report
    """This one function cannot be attached to; another may."""

    def __init__(self, function: str, error: OSError) -> None:
        super().__init__(f"{function}: {error.strerror}")
        self.function = function


class Programs:
    """The attached hooks."""

    def __init__(self, links: Mapping[str, int], programs: Mapping[str, int], events: Iterable[int] = ()) -> None:
        self.links = dict(links)
        self.loaded = dict(programs)
        self._events = list(events)
        self.runs: dict[str, ProgramRuns] = {}
        """Of each program, as of the last call of ``misses``, which reads the same description."""

    def misses(self) -> int:
        """Calls that the kernel skipped because a hook was running on that CPU already.

        The kernel counts them in two places: at the program, and, from 6.7 on, at the kprobe whose own handler was
        interrupted before it came to the program.
        """
        total = 0
        for role, fd in self.loaded.items():
            with suppress(OSError):
                nanoseconds, count, missed = _RUNS.unpack_from(bpf.object_info(fd))
                self.runs[role] = ProgramRuns(count, nanoseconds)
                total += missed
        for fd in self.links.values():
            with suppress(OSError):
                *kind, missed = _LINK_INFO.unpack_from(bpf.object_info(fd))
                total += missed if tuple(kind) == _KPROBE_LINK else 0
        return total

    def close(self) -> None:
        """Detach, unless links are pinned."""
        for fd in (*self.links.values(), *self.loaded.values(), *self._events):
            os.close(fd)
        self.links, self.loaded, self._events = {}, {}, []


def load(build: Build, maps: Mapping[int, int]) -> dict[Role, int]:
    """Program descriptors, not yet attached. ``maps`` gives each map number its descriptor.

    Raises EbpfUnavailable.
    """
    module = _module(build.plan)
    loaded: dict[Role, int] = {}
    try:
        for hook in build.plan.hooks:
            loaded[hook.role] = _load_one(build, hook, maps, module)
    except BaseException:
        for fd in loaded.values():
            os.close(fd)
        raise
    finally:
        if module:
            os.close(module)
    return loaded


def attach(plan: Plan, programs: Mapping[Role, int]) -> Programs:
    """Attach every program; takes over the descriptors. Raises FunctionRefused, nothing attached then."""
    made = Programs({}, {role.value: fd for role, fd in programs.items()})
    # Death first: no flow may be entered while its end would go unnoticed.
    order = sorted(plan.hooks, key=lambda hook: [Role.DEATH, Role.BIRTH, Role.ACCOUNT].index(hook.role))
    try:
        for hook in order:
            try:
                made.links[hook.role.value] = _attach_one(plan.mode, hook.function, programs[hook.role], made)
            except OSError as error:
                raise FunctionRefused(hook.function, error) from error
    except BaseException:
        made.close()
        raise
    return made


def _attach_one(mode: Mode, function: str, program: int, made: Programs) -> int:
    if mode is Mode.FENTRY:
        return bpf.attach_fentry(program)
    event = bpf.open_kprobe(function)
    made._events.append(event)
    return bpf.attach_perf_event(program, event)


def relocated(code: bytes, maps: Mapping[int, int]) -> bytes:
    """Instructions with map numbers replaced by descriptors. Raises KeyError for an unknown number."""
    patched = bytearray(code)
    for at in range(0, len(patched), 8):
        if patched[at] == _LOAD_64 and patched[at + 1] >> 4 in _PSEUDO_MAPS:
            number = struct.unpack_from("=i", patched, at + 4)[0]
            struct.pack_into("=i", patched, at + 4, maps[number])
    return bytes(patched)


def _module(plan: Plan) -> int:
    """Descriptor of the module's BTF that fentry needs; 0 when it needs none."""
    if plan.mode is not Mode.FENTRY or not plan.module:
        return 0
    try:
        return bpf.module_btf(plan.module)
    except PermissionError as error:
        fact = (
            f"fentry on a function of the module {plan.module} needs CAP_SYS_ADMIN, to open its type information"
        )
        raise EbpfUnavailable(EbpfProblem(Cause.NO_PERMISSION, fact)) from error
    except OSError as error:
        fact = f"the module {plan.module} has no type information ({error.strerror})"
        raise EbpfUnavailable(EbpfProblem(Cause.NO_BTF, fact)) from error


def _load_one(build: Build, hook: Hook, maps: Mapping[int, int], module: int) -> int:
    name = f"tf_{hook.role}"
    try:
        code = relocated(build.code[hook.role], maps)
        if build.plan.mode is Mode.FENTRY:
            return bpf.program_load(ProgramType.TRACING, code, name=name, attach=Attachment(hook.btf_id, module))
        return bpf.program_load(ProgramType.KPROBE, code, name=name)
    except KeyError as error:
        fact = f"the {hook.role} program uses a map {error} that there is not"
        raise EbpfUnavailable(EbpfProblem(Cause.LOAD_REFUSED, fact)) from error
    except VerifierError as error:
        raise EbpfUnavailable(refusal(hook, error)) from error
    except OSError as error:
        raise EbpfUnavailable(
            not_permitted(f"loading the {hook.role} program ({build.plan.mode})", error)
        ) from error


def refusal(hook: Hook, error: VerifierError) -> EbpfProblem:
    """What a refused program means: the verifier's verdict, or a kernel that lacks what it needs."""
    where = f"the {hook.role} program on {hook.function}"
    if not error.log.strip():
        return EbpfProblem(Cause.LOAD_REFUSED, f"{where} was refused ({error.strerror})")
    if _HELPER_WITHHELD.search(error.verdict):
        return EbpfProblem(Cause.LOCKED_DOWN, f"{where} was refused: the kernel is locked down", error.log)
    return EbpfProblem(Cause.VERIFIER, f"{where} was refused by the verifier: {error.verdict}", error.log)


def not_permitted(what: str, error: OSError, *, lockdown: Path = LOCKDOWN, status: Path = STATUS) -> EbpfProblem:
    """EPERM has three causes that need different remedies."""
    if error.errno not in (errno.EPERM, errno.EACCES):
        return EbpfProblem(Cause.LOAD_REFUSED, f"{what} was refused ({error.strerror})")
    with suppress(OSError):
        if "[confidentiality]" in lockdown.read_text():
            return EbpfProblem(Cause.LOCKED_DOWN, f"{what} is not permitted: the kernel is locked down")
    lacking = missing_capabilities(status)
    if lacking == ():
        return EbpfProblem(Cause.FORBIDDEN, f"{what} is not permitted, though every capability is held")
    held = f", without {' and '.join(lacking)}" if lacking else ""
    return EbpfProblem(Cause.NO_PERMISSION, f"{what} is not permitted{held}")


def missing_capabilities(status: Path = STATUS) -> tuple[str, ...] | None:
    """Which of the capabilities eBPF may ask for this thread lacks; None when /proc does not say."""
    try:
        held = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:")).split()[1]
        lacking = [name for name, bit in _CAPABILITIES.items() if not int(held, 16) >> bit & 1]
        return tuple(name for name in lacking if name not in _INCLUDED or "CAP_SYS_ADMIN" in lacking)
    except (OSError, StopIteration, ValueError, IndexError):
        return None
