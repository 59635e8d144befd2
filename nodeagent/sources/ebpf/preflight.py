# SPDX-License-Identifier: Apache-2.0
"""What eBPF on conntrack finds here, capability by capability, by trying: build, maps, load, attach, and let go.

Leaves: findings for the agent's preflight. None is required, for another source can measure. Guarantees: never
raises; what was attached for the trial is detached again. Where an agent measures with a pinned program, nothing
is compiled and attached. Compiling would take memory from the container of the agent that is asked about, and
attaching to the same functions would change the kernel's code under its program.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.compiling.build import BuildRequest, build
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable
from nodeagent.sources.findings import Finding, Presence

TRIAL: Final = Sizes(flows=1024, addresses=64, slots=16, seeds=16, elephants=16, event_bytes=4096 * 16)
"""Small: the preflight only checks whether maps can be created."""

_TYPES: Final = "kernel types (BTF) of conntrack"
_COMPILER: Final = "bcc"
_SCRATCH: Final = "traffic-footprint-preflight-"
_UNTRIED: Final = "not tried, because of what is missing above"


_COMPILERS: Final = frozenset(
    {Cause.BCC_MISSING, Cause.BCC_TOO_OLD, Cause.COMPILE_FAILED, Cause.COMPILE_TIMED_OUT, Cause.COMPILER_KILLED}
)
"""What only the compiler is to blame for: the types were read before."""


def findings(
    sizes: Sizes = TRIAL, *, compile_timeout: float | None = None, agent: Options | None = None
) -> tuple[Finding, ...]:
    """In the order in which they build on each other, with maps of ``sizes`` and so many seconds per compilation
    (None: the default). ``agent``: how the agent of this machine is started (None: as by default)."""
    measured_by = loader.running(agent or Options())
    if measured_by is not None:
        return _beside(*measured_by)
    with ExitStack() as stack:
        kept: Path | None = None  # where there is no place for files, each trial compiles
        with suppress(OSError):
            kept = Path(stack.enter_context(TemporaryDirectory(prefix=_SCRATCH, ignore_cleanup_errors=True)))
        return _tried(Options(sizes=sizes, pins=None, compile_timeout=compile_timeout, kept=kept))


def _tried(options: Options) -> tuple[Finding, ...]:
    """Compiles once for each way to attach: what the first finding compiled serves the others."""
    try:
        built = build(BuildRequest(Mode.KPROBE, timeout=options.compile_timeout, kept=options.kept))
    except EbpfUnavailable as unavailable:
        return (*_not_built(unavailable.problem), *(_untried(mode) for mode in Mode))
    names = ", ".join(hook.function for hook in built.plan.hooks)
    where = f"module {built.plan.module}" if built.plan.module else "built in"
    return (
        Finding(_TYPES, Presence.YES, f"{names} ({where})", required=False),
        Finding(_COMPILER, Presence.YES, "compiles the program", required=False),
        *(_attached(mode, options) for mode in Mode),
    )


def measures(found: Iterable[Finding]) -> bool:
    """Whether eBPF can count here, or does."""
    names = {_name(mode) for mode in Mode}
    return any(finding.capability in names and finding.answer is Presence.YES for finding in found)


def _beside(running: str, functions: tuple[str, ...]) -> tuple[Finding, ...]:
    """What is known without a trial of an agent that measures by the mode ``running``."""
    names = ", ".join(functions)
    untried = f"not tried beside an agent that measures by {running}"
    alone = "end the agent, then run the preflight again"
    return (
        Finding(_TYPES, Presence.YES, names, required=False),
        Finding(_COMPILER, Presence.UNKNOWN, untried, alone, required=False),
        *(
            Finding(
                _name(mode), Presence.YES, f"an agent measures so here now, attached to {names}", required=False
            )
            if mode == running
            else Finding(_name(mode), Presence.UNKNOWN, untried, alone, required=False)
            for mode in Mode
        ),
    )


def _not_built(problem: EbpfProblem) -> tuple[Finding, Finding]:
    if problem.kind in _COMPILERS:
        types = Finding(_TYPES, Presence.YES, "readable", required=False)
        return types, _missing(_COMPILER, problem)
    compiler = Finding(_COMPILER, Presence.UNKNOWN, _UNTRIED, required=False)
    return _missing(_TYPES, problem), compiler


def _attached(mode: Mode, options: Options) -> Finding:
    try:
        session = loader.start(replace(options, modes=(mode,)))
    except EbpfUnavailable as unavailable:
        return _missing(_name(mode), unavailable.problem)
    except OSError as error:
        return Finding(
            _name(mode),
            Presence.UNKNOWN,
            error.strerror or str(error),
            "run the preflight again",
            required=False,
        )
    functions = ", ".join(session.functions)
    session.close(keep=False)
    return Finding(_name(mode), Presence.YES, f"attached to {functions} on {platform.release()}", required=False)


def _untried(mode: Mode) -> Finding:
    return Finding(_name(mode), Presence.UNKNOWN, _UNTRIED, required=False)


def _missing(name: str, problem: EbpfProblem) -> Finding:
    return Finding(name, Presence.NO, f"{problem.fact} [{problem.kind}]", problem.remedy, required=False)


def _name(mode: Mode) -> str:
    return f"eBPF on conntrack by {mode}"
