# SPDX-License-Identifier: Apache-2.0
"""Why the program cannot run here: one kind for each cause, each with its remedy."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from nodeagent.sources.base import SourceUnavailable


class Cause(StrEnum):
    """Stable words, as preflight's JSON and the log show them."""

    NO_BTF = "no-btf"
    NO_CONNTRACK = "no-conntrack"
    UNKNOWN_PROTOTYPE = "unknown-prototype"
    UNKNOWN_LAYOUT = "unknown-layout"
    BCC_MISSING = "bcc-missing"
    BCC_TOO_OLD = "bcc-too-old"
    COMPILE_FAILED = "compile-failed"
    COMPILE_TIMED_OUT = "compile-timed-out"
    COMPILER_KILLED = "compiler-killed"
    NOT_PORTED = "not-ported"
    MAP_REFUSED = "map-refused"
    NO_PERMISSION = "no-permission"
    FORBIDDEN = "forbidden"
    LOCKED_DOWN = "locked-down"
    VERIFIER = "verifier-rejection"
    LOAD_REFUSED = "load-refused"
    ATTACH_REFUSED = "attach-refused"
    NO_CGROUP = "no-cgroup"
    CGROUP_TAKEN = "cgroup-taken"


REMEDY: Final[dict[Cause, str]] = {
    Cause.NO_BTF: "run a kernel built with CONFIG_DEBUG_INFO_BTF=y and CONFIG_DEBUG_INFO_BTF_MODULES=y",
    Cause.NO_CONNTRACK: "run `modprobe nf_conntrack` on the node",
    Cause.UNKNOWN_PROTOTYPE: "report the kernel's version and this line; meanwhile use --source ctnetlink",
    Cause.UNKNOWN_LAYOUT: "report the kernel's version and this line; meanwhile use --source ctnetlink",
    Cause.BCC_MISSING: "install the distribution's package: `apt-get install python3-bpfcc` (never bcc from PyPI, "
    "which is another project), and use a Python that sees it",
    Cause.BCC_TOO_OLD: "install bcc 0.26 or later: `apt-get install python3-bpfcc` on a newer distribution",
    Cause.COMPILE_FAILED: "report this line with the versions of bcc and kernel; meanwhile use --source ctnetlink",
    Cause.COMPILE_TIMED_OUT: "give it more processor time (the container's CPU limit), or more seconds with "
    "--compile-timeout; or use --source ctnetlink",
    Cause.COMPILER_KILLED: "raise the memory limit of the container: compiling takes up to 220 MiB for a moment",
    Cause.NOT_PORTED: "use --source ctnetlink on this machine",
    Cause.MAP_REFUSED: "raise the memory limit of the container, or lower the number of flows tracked",
    Cause.NO_PERMISSION: "run as root, or add NET_ADMIN and SYS_ADMIN (BPF and PERFMON instead of SYS_ADMIN where "
    "the kernel does not ask for it) to securityContext.capabilities",
    Cause.FORBIDDEN: "use --source ctnetlink: this kernel allows it to nobody",
    Cause.LOCKED_DOWN: "boot without lockdown=confidentiality, or use --source ctnetlink",
    Cause.VERIFIER: "report the kernel's version and this line; meanwhile use --source ctnetlink",
    Cause.LOAD_REFUSED: "see `dmesg`; meanwhile use --source ctnetlink",
    Cause.ATTACH_REFUSED: "run a kernel with CONFIG_KPROBES=y, or with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y",
    Cause.NO_CGROUP: "mount the machine's cgroup2 file system into the container, and name it with --cgroup-root",
    Cause.CGROUP_TAKEN: "have that program attached with BPF_F_ALLOW_MULTI, or use another --source",
}
"""What mends each."""


@dataclass(frozen=True, slots=True)
class EbpfProblem:
    """One cause, as found."""

    kind: Cause
    fact: str
    detail: str = ""
    """Everything there is to know, such as the verifier's whole log: too long for a line, kept in a file."""

    @property
    def remedy(self) -> str:
        return REMEDY[self.kind]


class EbpfUnavailable(SourceUnavailable):
    """The program cannot run; ``problem`` says why."""

    def __init__(self, problem: EbpfProblem) -> None:
        super().__init__(f"ebpf: {problem.fact}; flows are not counted in the kernel; {problem.remedy}")
        self.problem = problem


KEPT_LOGS: Final = 8
"""Files of details that stay in the folder for temporary files; older ones are deleted."""
MAX_LOG: Final = 2**20
"""Bytes of one file. Of a longer detail the beginning and the end are kept: a verifier's verdict comes last."""
_LOG_PREFIX: Final = "traffic-footprint-"


def with_kept_detail(problem: EbpfProblem) -> EbpfProblem:
    """The problem with its detail in a file of its own, which the fact names; it says so when none can be made."""
    if not problem.detail:
        return problem
    try:
        _delete_oldest(Path(tempfile.gettempdir()))
        with tempfile.NamedTemporaryFile(
            "wb", prefix=f"{_LOG_PREFIX}{problem.kind}-", suffix=".log", delete=False
        ) as file:
            file.write(_shortened(problem.detail.encode("utf-8", "replace")))
    except OSError as error:
        return replace(problem, fact=f"{problem.fact} (the whole log could not be kept: {error.strerror})")
    return replace(problem, fact=f"{problem.fact} (the whole log: {file.name})")


def _shortened(detail: bytes) -> bytes:
    if len(detail) <= MAX_LOG:
        return detail
    left_out = f"\n... {len(detail) - MAX_LOG} bytes left out ...\n".encode()
    half = (MAX_LOG - len(left_out)) // 2
    return detail[:half] + left_out + detail[-half:]


def _delete_oldest(folder: Path) -> None:
    """Make room for one more file. What cannot be deleted stays."""
    found = []
    for path in folder.glob(f"{_LOG_PREFIX}*.log"):
        with suppress(OSError):
            found.append((path.lstat().st_mtime_ns, path))
    for _, path in sorted(found)[: max(len(found) - KEPT_LOGS + 1, 0)]:
        with suppress(OSError):
            path.unlink()
