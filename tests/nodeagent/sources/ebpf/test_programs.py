# SPDX-License-Identifier: Apache-2.0
"""Loading: relocation, and what a refusal means."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from pathlib import Path

import pytest

from nodeagent.sources.base import ProgramRuns
from nodeagent.sources.ebpf.compiling.hooks import Hook, Role
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import VerifierError
from nodeagent.sources.ebpf.problems import (
    KEPT_LOGS,
    MAX_LOG,
    REMEDY,
    Cause,
    EbpfProblem,
    EbpfUnavailable,
    with_kept_detail,
)
from nodeagent.sources.ebpf.programs import Programs, missing_capabilities, not_permitted, refusal, relocated

HOOK = Hook(Role.DEATH, "nf_conntrack_free", 7)
LOG = """func#0 @0
0: R1=ctx(off=0,imm=0) R10=fp0
1537: (db) lock *(u64 *)(r6 +320) += r1
R6 unbounded memory access, make sure to bounds check any such access
verification time 1 usec
stack depth 8
processed 41124 insns (limit 1000000) max_states_per_insn 18 total_states 2868 peak_states 131 mark_read 0
"""


def instruction(code: int, registers: int, immediate: int) -> bytes:
    return struct.pack("=BBhi", code, registers, 0, immediate)


def test_map_numbers_become_descriptors_and_nothing_else_changes() -> None:
    load_map, plain = instruction(0x18, 0x11, 2) + instruction(0, 0, 0), instruction(0x18, 0x01, 2) + bytes(8)
    code = load_map + plain + instruction(0x95, 0, 0)
    expected = instruction(0x18, 0x11, 77) + bytes(8) + plain + instruction(0x95, 0, 0)
    assert relocated(code, {2: 77}) == expected


def test_a_map_nobody_made_is_an_error() -> None:
    with pytest.raises(KeyError):
        relocated(instruction(0x18, 0x11, 9) + bytes(8), {2: 77})


def test_the_verifiers_line_that_says_why_is_found() -> None:
    error = VerifierError(errno.EACCES, LOG)
    assert error.verdict == "R6 unbounded memory access, make sure to bounds check any such access"
    problem = refusal(HOOK, error)
    assert problem.kind is Cause.VERIFIER
    assert error.verdict in problem.fact
    assert problem.detail == LOG


def test_a_refusal_without_a_word_is_no_verdict() -> None:
    assert refusal(HOOK, VerifierError(errno.EINVAL, "")).kind is Cause.LOAD_REFUSED


def status(tmp_path: Path, held: int) -> Path:
    path = tmp_path / "status"
    path.write_text(f"Name:\tx\nCapEff:\t{held:016x}\n")
    return path


@pytest.mark.parametrize(
    ("held", "lockdown", "kind", "says"),
    [
        (0, "[none] integrity confidentiality", Cause.NO_PERMISSION, "without CAP_BPF and CAP_PERFMON"),
        (1 << 39 | 1 << 38 | 1 << 12, None, Cause.NO_PERMISSION, "without CAP_SYS_ADMIN"),
        (1 << 21, None, Cause.NO_PERMISSION, "not permitted, without CAP_NET_ADMIN"),
        (1 << 21 | 1 << 12, None, Cause.FORBIDDEN, "every capability"),
        (2**41 - 1, None, Cause.FORBIDDEN, "every capability"),
        (2**41 - 1, "none integrity [confidentiality]", Cause.LOCKED_DOWN, "locked down"),
    ],
)
def test_what_is_not_permitted_is_told_apart(
    tmp_path: Path, held: int, lockdown: str | None, kind: Cause, says: str
) -> None:
    path = tmp_path / "lockdown"
    if lockdown:
        path.write_text(lockdown)
    error = PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    problem = not_permitted("loading", error, lockdown=path, status=status(tmp_path, held))
    assert problem.kind is kind
    assert says in problem.fact


def test_a_status_that_cannot_be_read_does_not_matter(tmp_path: Path) -> None:
    assert missing_capabilities(tmp_path / "none") is None
    assert missing_capabilities(status(tmp_path, 2**41 - 1)) == ()


@pytest.mark.parametrize("kind", list(Cause))
def test_every_problem_has_a_remedy_and_one_line(kind: Cause) -> None:
    text = str(EbpfUnavailable(EbpfProblem(kind, "the fact")))
    assert text == f"ebpf: the fact; flows are not counted in the kernel; {REMEDY[kind]}"
    assert "\n" not in text


@pytest.mark.parametrize(
    "verdict",
    [
        "unknown func bpf_probe_read#4",
        "unknown func bpf_probe_read_kernel#113",
        "program of this type cannot use helper bpf_probe_read_kernel#113",
    ],
)
def test_a_verifier_that_knows_no_reading_of_kernel_memory_means_lockdown(verdict: str) -> None:
    problem = refusal(HOOK, VerifierError(errno.EINVAL, f"7: (85) call bpf_probe_read_kernel#113\n{verdict}\n"))
    assert problem.kind is Cause.LOCKED_DOWN
    assert verdict in problem.detail


def test_other_faults_around_that_helper_are_the_verifiers_own() -> None:
    error = VerifierError(errno.EINVAL, "7: (85) call bpf_probe_read_kernel#113\nR2 min value is negative\n")
    assert refusal(HOOK, error).kind is Cause.VERIFIER


def test_a_long_log_is_kept_in_a_file_that_the_problem_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = with_kept_detail(EbpfProblem(Cause.VERIFIER, "refused", LOG))
    (path,) = tmp_path.iterdir()
    assert kept.fact == f"refused (the whole log: {path})"
    assert path.read_text() == LOG
    assert path.stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_kept_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    kept = with_kept_detail(EbpfProblem(Cause.VERIFIER, "refused", LOG))
    assert "refused (the whole log could not be kept: " in kept.fact
    assert kept.detail == LOG


def test_a_problem_without_a_log_is_left_alone() -> None:
    problem = EbpfProblem(Cause.NO_BTF, "none")
    assert with_kept_detail(problem) is problem


def test_logs_stay_few_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "somebody's.log").write_text("not ours")
    for number in range(KEPT_LOGS + 5):
        kept = with_kept_detail(
            EbpfProblem(Cause.VERIFIER, "refused", f"{number} begins" + "x" * 2 * MAX_LOG + "the verdict")
        )
        os.utime(kept.fact.partition("(the whole log: ")[2].removesuffix(")"), (number, number))
    logs = sorted(tmp_path.glob("traffic-footprint-*.log"), key=lambda path: path.stat().st_mtime)
    assert len(logs) == KEPT_LOGS
    assert all(path.stat().st_size <= MAX_LOG for path in logs)
    text = logs[-1].read_text()
    assert text.startswith(f"{KEPT_LOGS + 4} begins")
    assert text.endswith("the verdict")
    assert "bytes left out" in text
    assert (tmp_path / "somebody's.log").exists()


def test_skipped_calls_are_counted_at_the_program_and_at_the_kprobe(monkeypatch: pytest.MonkeyPatch) -> None:
    program, kprobe = struct.pack("=192xQQQ40x", 7_000, 2, 3), struct.pack("=I12xI28xQ200x", 7, 3, 5)
    fentry, old = struct.pack("=I12xI28xQ200x", 2, 3, 99), bytes(256)  # a tracing link; a kernel before 6.7
    infos = {1: program, 2: kprobe, 3: fentry, 4: old}
    monkeypatch.setattr(bpf, "object_info", lambda fd: infos[fd])
    hooks = Programs({"birth": 2, "death": 3, "account": 4}, {"birth": 1})
    assert hooks.misses() == 8
    assert hooks.runs == {"birth": ProgramRuns(2, 7_000)}
