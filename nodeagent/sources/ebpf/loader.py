# SPDX-License-Identifier: Apache-2.0
"""Running hooks: build, load and attach in the best way that this kernel allows, or take over a predecessor's.

Enters: ``Options``. Leaves: a ``Session``. Effects: a child process unless the program was kept, maps, programs,
pins. Raises EbpfUnavailable with the outcome of every attempt when none works.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from nodeagent.sources.ebpf import programs
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.compiling.build import (
    Build,
    BuildRequest,
    build,
    fingerprint,
    refused_by_kernel,
    sources,
)
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel import pins
from nodeagent.sources.ebpf.kernel.maps import Maps, Sizes, specs
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable, with_kept_detail
from nodeagent.sources.ebpf.programs import FunctionRefused, Programs, not_permitted

_log = structlog.get_logger(__name__)

_ENOTSUPP: Final = 524  # the kernel's own, which leaks out of its tracing code
_WHOLE_MODE: Final = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, _ENOTSUPP})
"""Refusals that every other function would meet too."""

_SAME_IN_EVERY_MODE: Final = frozenset(
    {
        Cause.NO_BTF,
        Cause.BCC_MISSING,
        Cause.BCC_TOO_OLD,
        Cause.COMPILE_FAILED,
        Cause.COMPILE_TIMED_OUT,
        Cause.COMPILER_KILLED,
        Cause.UNKNOWN_LAYOUT,
        Cause.NO_CONNTRACK,
        Cause.UNKNOWN_PROTOTYPE,
    }
)

NOT_THE_PROGRAMS_FAULT: Final = frozenset({Cause.NO_PERMISSION, Cause.FORBIDDEN, Cause.LOCKED_DOWN})
"""Refusals that a newly compiled program would meet too."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to start."""

    sizes: Sizes = field(default_factory=Sizes)
    modes: tuple[Mode, ...] = (Mode.FENTRY, Mode.KPROBE)
    """In the order in which they are tried."""
    without: frozenset[str] = frozenset()
    """Functions not to hook."""
    pins: Path | None = pins.ROOT
    """Where maps and hooks outlive the agent; None: they do not."""
    compile_timeout: float | None = None
    """Seconds for one compilation; None: ``build.TIMEOUT``."""
    kept: Path | None = cache.DIRECTORY
    """Where compiled programs outlive the agent, if there is such a folder; None: they do not."""


@dataclass(slots=True)
class Session:
    """Running hooks and their maps."""

    maps: Maps
    programs: Programs
    mode: str
    """``fentry`` or ``kprobe``."""
    functions: tuple[str, ...] = ()
    pinned: Path | None = None
    adopted: bool = False
    """A predecessor's."""
    kept: bool = False
    """Compiled by an earlier process."""

    @property
    def origin(self) -> str:
        """Where the program is from: ``pinned``, ``kept`` or ``compiled``."""
        return "pinned" if self.adopted else "kept" if self.kept else "compiled"

    def close(self, *, keep: bool) -> None:
        """Close all descriptors. Without ``keep``, unpin as well, so that the kernel unloads the program."""
        if self.pinned is not None and not keep:
            pins.discard(self.pinned)
        self.programs.close()
        self.maps.close()


def own_namespace() -> int:
    """Inode of this thread's network namespace."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def identity(sizes: Sizes) -> int:
    """What a predecessor's maps must hold, so that they can be taken over: 32 bits of sources and sizes."""
    return (fingerprint(sources()) ^ hash_sizes(sizes)) & 0xFFFF_FFFF


def hash_sizes(sizes: Sizes) -> int:
    """Stable over processes, unlike hash()."""
    result = 0
    for spec in specs(sizes):
        result = (result * 1_000_003 + spec.max_entries * 31 + spec.value_size) & 0xFFFF_FFFF
    return result


def adopt(options: Options) -> Session | None:
    """A predecessor's running hooks, when they are of the same program. Any other program is unloaded."""
    if options.pins is None:
        return None
    return taken_over(pins.directory(own_namespace(), options.pins), options, _opened, _otherness)


def taken_over(
    path: Path,
    options: Options,
    opened: Callable[[Path, Options], Session],
    otherness: Callable[[Session, Options], str],
) -> Session | None:
    """What is pinned at ``path``, when ``otherness`` finds it to be what this agent would start; else it is
    unloaded. Both functions may raise OSError."""
    if not path.is_dir():
        return None
    try:
        session = opened(path, options)
    except OSError as error:
        _log.warning("cannot take over the previous agent's program; unloading it", problem=str(error))
        pins.discard(path)
        return None
    try:
        other = otherness(session, options)
    except OSError as error:
        other = str(error)
    if not other:
        return session
    _log.info("the previous agent's program differs from this agent's; unloading it", differs=other)
    session.close(keep=False)
    return None


def running(options: Options) -> tuple[str, tuple[str, ...]] | None:
    """How the program that is pinned here is attached: mode and functions. It stays as it is.

    None: there is none, it is of another build, or its pins cannot be read.
    """
    if options.pins is None:
        return None
    try:
        session = _opened(pins.directory(own_namespace(), options.pins), options)
    except OSError:
        return None
    try:
        return None if _otherness(session, options) else (session.mode, session.functions)
    except OSError:
        return None
    finally:
        session.close(keep=True)


def _opened(path: Path, options: Options) -> Session:
    """What is pinned at ``path``. Raises OSError."""
    found = pins.open_all(path, [spec.name for spec in specs(options.sizes)])
    programs = Programs(found.links, found.programs)
    return Session(Maps(found.maps, options.sizes), programs, "", pinned=path, adopted=True)


def _otherness(session: Session, options: Options) -> str:
    """How a pinned program differs from the one this agent would start; empty: in nothing.

    Fills in the session's mode and functions when they are the same. Raises OSError.
    """
    if different := session.maps.differences():  # before anything is read from them
        return f"the maps {', '.join(different)}"
    config = session.maps.read_config()
    if config.fingerprint != identity(options.sizes):
        return "the program"
    if config.netns != own_namespace():
        return "the network namespace"
    mode, hooks, functions = (*session.maps.note().split(" "), "", "", "")[:3]
    if mode not in tuple(Mode):
        return "how it is attached"
    roles = sorted(hooks.split(","))
    if not roles == sorted(session.programs.links) == sorted(session.programs.loaded):
        return f"hooks: {', '.join(sorted(session.programs.links)) or 'none'} of {', '.join(roles)}"
    session.mode, session.functions = mode, tuple(functions.split(","))
    return ""


def _note(session: Session) -> str:
    """What ``_otherness`` reads. It names the hooks, because a program without one of them would count wrong."""
    return f"{session.mode} {','.join(sorted(session.programs.links))} {','.join(session.functions)}"


def disown(options: Options) -> None:
    """Unload what a predecessor left in this network namespace."""
    if options.pins is not None:
        pins.discard(pins.directory(own_namespace(), options.pins))


def start(options: Options) -> Session:
    """Fresh maps and hooks. Nothing counts before ``config`` has been written. Raises EbpfUnavailable."""
    problems: list[tuple[Mode, EbpfProblem]] = []
    for mode in options.modes:
        try:
            return _start_mode(mode, options)
        except EbpfUnavailable as unavailable:
            problem = with_kept_detail(unavailable.problem)
            problems.append((mode, problem))
            if problem.kind in _SAME_IN_EVERY_MODE:
                break
            if mode is not options.modes[-1]:
                _log.info("cannot hook this way", mode=mode.value, problem=problem.fact)
    raise EbpfUnavailable(combined(problems))


def combined(problems: Collection[tuple[Mode, EbpfProblem]]) -> EbpfProblem:
    """One problem of several attempts: the last one's remedy, everyone's fact."""
    _, last = list(problems)[-1]
    if len(problems) == 1:
        return last
    fact = "; ".join(f"{mode}: {problem.fact}" for mode, problem in problems)
    detail = "\n".join(f"{mode}:\n{problem.detail}" for mode, problem in problems if problem.detail)
    return EbpfProblem(last.kind, fact, detail)


def pin(session: Session, options: Options) -> None:
    """Pin the session, so that it outlives this process where the kernel allows it."""
    if options.pins is None:
        return
    path = pins.directory(own_namespace(), options.pins)
    try:
        session.maps.write_note(_note(session))
        keep_at(path, session)
    except (OSError, ValueError) as error:
        say_not_pinned(path, error)


def keep_at(path: Path, session: Session) -> None:
    """Pin the session at ``path``. Raises OSError."""
    pins.pin_all(path, pins.Pinned(session.maps.fds, session.programs.links, session.programs.loaded))
    session.pinned = path


def say_not_pinned(path: Path, error: Exception) -> None:
    """Log that what runs ends with this process."""
    _log.info("a restart of the agent will begin anew: nothing can be pinned", path=str(path), problem=str(error))


def _start_mode(mode: Mode, options: Options) -> Session:
    without, fresh = set(options.without), False
    maps = create_maps(options.sizes)
    try:
        while True:
            request = BuildRequest(
                mode, frozenset(without), timeout=options.compile_timeout, kept=options.kept, fresh=fresh
            )
            built = build(request)
            try:
                running = programs.attach(built.plan, programs.load(built, maps.numbered()))
            except FunctionRefused as error:
                _judge(mode, error)
                without.add(error.function)
                continue
            except EbpfUnavailable as unavailable:
                if not built.kept or unavailable.problem.kind in NOT_THE_PROGRAMS_FAULT:
                    raise
                refused_by_kernel(request, unavailable.problem.fact)
                fresh = True
                continue
            return Session(maps, running, mode.value, _functions(built), kept=built.kept)
    except BaseException:
        maps.close()
        raise


def _judge(mode: Mode, refused: FunctionRefused) -> None:
    """Return to try another function; raises EbpfUnavailable when the whole mode is refused."""
    cause = refused.__cause__
    if not isinstance(cause, OSError) or cause.errno not in _WHOLE_MODE:
        _log.info("a function cannot be hooked", function=refused.function, mode=mode.value, problem=str(cause))
        return
    what = f"attaching to {refused.function} ({mode})"
    if cause.errno in (errno.EPERM, errno.EACCES):
        raise EbpfUnavailable(not_permitted(what, cause)) from refused
    fact = f"{what} is not supported by this kernel ({cause.strerror})"
    raise EbpfUnavailable(EbpfProblem(Cause.ATTACH_REFUSED, fact)) from refused


def create_maps(sizes: Sizes) -> Maps:
    """Fresh maps. Raises EbpfUnavailable."""
    try:
        return Maps.create(sizes)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise EbpfUnavailable(not_permitted("creating maps", error)) from error
        raise EbpfUnavailable(
            EbpfProblem(Cause.MAP_REFUSED, f"the kernel refused a map ({error.strerror})")
        ) from error


def _functions(built: Build) -> tuple[str, ...]:
    return tuple(hook.function for hook in built.plan.hooks)
