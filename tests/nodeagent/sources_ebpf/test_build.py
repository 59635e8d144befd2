"""The compiling process: what it makes, and every way it can fail."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from nodeagent.btf.kernel import DIRECTORY, VMLINUX
from nodeagent.sources.ebpf.build import Request, build, fingerprint, sources
from nodeagent.sources.ebpf.hooks import Mode, Role
from nodeagent.sources.ebpf.problems import EbpfUnavailable, Kind

needs_btf = pytest.mark.skipif(not (DIRECTORY / VMLINUX).exists(), reason="this kernel publishes no BTF")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The C sources, to be damaged."""
    shutil.copytree(sources(), tmp_path / "bpf")
    return tmp_path / "bpf"


@needs_btf
@pytest.mark.parametrize("mode", list(Mode))
def test_it_compiles_without_any_kernel_headers(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCC_KERNEL_SOURCE", "/nonexistent")  # somebody else's choice does not matter
    built = build(Request(mode))
    assert set(built.code) == {hook.role for hook in built.plan.hooks} >= {Role.ACCOUNT, Role.DEATH}
    assert all(code and len(code) % 8 == 0 for code in built.code.values())


@needs_btf
@pytest.mark.parametrize("define", ["ACCOUNT_BY_ADD", "ACCOUNT_BY_BYTES", "ACCOUNT_BY_SKB"])
@pytest.mark.parametrize("birth", ["", "BIRTH_BY_SKB"])
def test_every_variant_compiles(define: str, birth: str, copied: Path) -> None:
    source = copied / "footprint.bpf.c"
    others = ("ACCOUNT_BY_ADD", "ACCOUNT_BY_BYTES", "ACCOUNT_BY_SKB")
    chosen = "".join(f"#undef {name}\n" for name in others) + f"#define {define} 1\n"
    source.write_text(chosen + (f"#define {birth} 1\n" if birth else "") + source.read_text())
    assert build(Request(Mode.KPROBE, sources=copied)).code[Role.ACCOUNT]


@needs_btf
def test_a_compilers_complaint_is_shown(copied: Path) -> None:
    (copied / "flows.h").write_text('#error "the first line that matters"\n')
    with pytest.raises(EbpfUnavailable, match="the first line that matters") as raised:
        build(Request(Mode.KPROBE, sources=copied))
    assert raised.value.problem.kind is Kind.COMPILE_FAILED
    assert "bcc" in raised.value.problem.remedy
    assert "flows.h" in raised.value.problem.detail


@needs_btf
def test_without_bcc_the_distributions_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bcc.py").write_text("raise ImportError('No module named bcc')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EbpfUnavailable, match="python3-bpfcc") as raised:
        build(Request(Mode.KPROBE))
    assert raised.value.problem.kind is Kind.BCC_MISSING


@needs_btf
def test_a_bcc_that_is_another_project_is_told_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bcc.py").write_text("__version__ = '0.1-lattice'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EbpfUnavailable, match=r"bcc 0\.1-lattice") as raised:
        build(Request(Mode.KPROBE))
    assert raised.value.problem.kind is Kind.COMPILE_FAILED


def test_without_btf_the_kernels_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(EbpfUnavailable, match="CONFIG_DEBUG_INFO_BTF") as raised:
        build(Request(Mode.KPROBE, btf=tmp_path))
    assert raised.value.problem.kind is Kind.NO_BTF


@pytest.mark.parametrize("says", ["", "not JSON", "Killed"])
def test_a_compiling_process_that_dies_is_a_problem(tmp_path: Path, says: str) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(EbpfUnavailable, match="status 3") as raised:
        build(Request(Mode.KPROBE, python=str(broken)))
    assert raised.value.problem.kind is Kind.COMPILE_FAILED


def test_a_compiling_process_that_ran_out_of_memory_names_the_limit(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nkill -KILL $$\n")
    broken.chmod(0o755)
    with pytest.raises(EbpfUnavailable, match="memory limit") as raised:
        build(Request(Mode.KPROBE, python=str(broken)))
    assert raised.value.problem.kind is Kind.COMPILER_KILLED


def test_a_compiling_process_that_cannot_start_is_a_problem() -> None:
    with pytest.raises(EbpfUnavailable) as raised:
        build(Request(Mode.KPROBE, python="/nonexistent/python"))
    assert raised.value.problem.kind is Kind.COMPILE_FAILED


def test_the_compiler_does_not_stay_resident() -> None:
    assert "bcc" not in sys.modules


def test_another_source_is_another_fingerprint(copied: Path) -> None:
    before = fingerprint(copied)
    assert before == fingerprint(sources())
    with (copied / "state.h").open("a") as file:
        file.write("\n")
    assert fingerprint(copied) != before
