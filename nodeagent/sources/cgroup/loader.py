# SPDX-License-Identifier: Apache-2.0
"""Running programs at a cgroup's sockets: build, load and attach them, or take over a predecessor's.

Enters: ``Options`` of the eBPF source, the cgroup. Leaves: a ``Session``. Effects: a child process, maps,
programs, pins. Raises EbpfUnavailable. Nobody's program is replaced: links stand beside all others.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from nodeagent.sources.cgroup import root
from nodeagent.sources.ebpf.compiling.build import (
    Build,
    BuildRequest,
    build,
    fingerprint,
    refused_by_kernel,
    sources,
)
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel import bpf, pins
from nodeagent.sources.ebpf.kernel.bpf import AttachType, ProgramType, VerifierError
from nodeagent.sources.ebpf.kernel.maps import Maps, specs
from nodeagent.sources.ebpf.loader import (
    NOT_THE_PROGRAMS_FAULT,
    Options,
    Session,
    create_maps,
    hash_sizes,
    keep_at,
    say_not_pinned,
    taken_over,
)
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable
from nodeagent.sources.ebpf.programs import Programs, not_permitted, relocated

MODE: Final = "cgroup"
PROGRAM: Final = "cgroup.bpf.c"
TRACEPOINT: Final = "inet_sock_set_state"
SWEEP: Final = "sweep"


@dataclass(frozen=True, slots=True)
class _Part:
    """One program of the file."""

    function: str
    kind: ProgramType
    attach_type: AttachType = AttachType.NONE


PARTS: Final[Mapping[str, _Part]] = MappingProxyType(
    {
        # Ends first: no flow may be entered while its end would go unnoticed.
        "end": _Part("cgroup_end", ProgramType.RAW_TRACEPOINT),
        "ingress": _Part("cgroup_ingress", ProgramType.CGROUP_SKB, AttachType.CGROUP_INGRESS),
        "egress": _Part("cgroup_egress", ProgramType.CGROUP_SKB, AttachType.CGROUP_EGRESS),
        SWEEP: _Part("cgroup_sweep", ProgramType.SCHED_CLS),
    }
)
"""In the order in which they are attached; the sweep is run, never attached."""
HOOKED: Final = ("end", "ingress", "egress")


def identity(options: Options) -> int:
    """What a predecessor's maps must hold, so that they can be taken over: 32 bits of sources and sizes."""
    return (fingerprint(sources(), PROGRAM) ^ hash_sizes(options.sizes)) & 0xFFFF_FFFF


def directory(cgroup: Path, pinned: Path) -> Path:
    """Where the program at ``cgroup`` is pinned, below ``pinned``."""
    return pinned / f"{MODE}-{cgroup.stat().st_ino}"


def adopt(options: Options, cgroup: Path) -> Session | None:
    """A predecessor's running programs, when they are of the same build. Any other is unloaded."""
    if options.pins is None:
        return None
    return taken_over(directory(cgroup, options.pins), options, _opened, _otherness)


def running(options: Options, cgroup: Path) -> bool:
    """Whether a program of this build is pinned for the cgroup. It stays as it is."""
    if options.pins is None:
        return False
    try:
        session = _opened(directory(cgroup, options.pins), options)
    except OSError:
        return False
    try:
        return not _otherness(session, options)
    except OSError:
        return False
    finally:
        session.close(keep=True)


def _opened(path: Path, options: Options) -> Session:
    found = pins.open_all(path, [spec.name for spec in specs(options.sizes)])
    programs = Programs(found.links, found.programs)
    return Session(Maps(found.maps, options.sizes), programs, MODE, (TRACEPOINT,), pinned=path, adopted=True)


def _otherness(session: Session, options: Options) -> str:
    """How a pinned program differs from the one this agent would start; empty: in nothing. Raises OSError."""
    if different := session.maps.differences():
        return f"the maps {', '.join(different)}"
    if session.maps.read_config().fingerprint != identity(options):
        return "the program"
    if sorted(session.programs.links) != sorted(HOOKED) or sorted(session.programs.loaded) != sorted(PARTS):
        return f"hooks: {', '.join(sorted(session.programs.links)) or 'none'} of {', '.join(sorted(HOOKED))}"
    return ""


def start(options: Options, cgroup: Path) -> Session:
    """Fresh maps and programs. Nothing counts before ``config`` has been written. Raises EbpfUnavailable."""
    with root.opened(cgroup) as descriptor:
        if found := root.holder(descriptor):
            raise EbpfUnavailable(root.taken(cgroup, found))
        asked = request(options)
        built = build(asked)
        try:
            return _attached(built, options, cgroup, descriptor)
        except EbpfUnavailable as unavailable:
            if not built.kept or unavailable.problem.kind in NOT_THE_PROGRAMS_FAULT:
                raise
            refused_by_kernel(asked, unavailable.problem.fact)
        return _attached(build(replace(asked, fresh=True)), options, cgroup, descriptor)


def request(options: Options) -> BuildRequest:
    """What is compiled."""
    functions = {name: part.function for name, part in PARTS.items()}
    return BuildRequest(
        Mode.FENTRY, file=PROGRAM, functions=functions, at="sockets", timeout=options.compile_timeout,
        kept=options.kept,
    )  # fmt: skip


def _attached(built: Build, options: Options, cgroup: Path, descriptor: int) -> Session:
    maps = create_maps(options.sizes)
    programs = Programs({}, {})
    try:
        for name, part in PARTS.items():
            programs.loaded[name] = _load(name, part, relocated(built.code[name], maps.numbered()))
        for name in HOOKED:
            programs.links[name] = _attach(name, programs.loaded[name], descriptor, cgroup)
    except BaseException:
        programs.close()
        maps.close()
        raise
    return Session(maps, programs, MODE, (TRACEPOINT,), kept=built.kept)


def pin(session: Session, options: Options, cgroup: Path) -> None:
    """Pin the session, so that it outlives this process where the kernel allows it."""
    if options.pins is None:
        return
    path = directory(cgroup, options.pins)
    try:
        keep_at(path, session)
    except OSError as error:
        say_not_pinned(path, error)


def disown(options: Options) -> None:
    """Unload what predecessors left at any cgroup."""
    if options.pins is not None:
        for path in options.pins.glob(f"{MODE}-*"):
            pins.discard(path)


def _load(name: str, part: _Part, code: bytes) -> int:
    try:
        return bpf.program_load(part.kind, code, name=f"tf_{name}", attach_type=part.attach_type)
    except VerifierError as error:
        if not error.log.strip():
            raise EbpfUnavailable(
                EbpfProblem(Cause.LOAD_REFUSED, f"the {name} program was refused ({error.strerror})")
            ) from error
        fact = f"the {name} program was refused by the verifier: {error.verdict}"
        raise EbpfUnavailable(EbpfProblem(Cause.VERIFIER, fact, error.log)) from error
    except OSError as error:
        raise EbpfUnavailable(not_permitted(f"loading the {name} program", error)) from error


def _attach(name: str, program: int, descriptor: int, cgroup: Path) -> int:
    try:
        if name in root.HOOKS:
            return bpf.attach_cgroup(program, descriptor, root.HOOKS[name])
        return bpf.attach_raw_tracepoint(program, TRACEPOINT)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise EbpfUnavailable(not_permitted(f"attaching the {name} program to {cgroup}", error)) from error
        fact = f"attaching the {name} program to {cgroup} was refused ({os.strerror(error.errno or 0)})"
        raise EbpfUnavailable(EbpfProblem(Cause.ATTACH_REFUSED, fact)) from error
