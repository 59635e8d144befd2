# SPDX-License-Identifier: Apache-2.0
"""The compiling process: what it makes, and every way it can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from nodeagent.sources.ebpf.btf.kernel import DIRECTORY, VMLINUX
from nodeagent.sources.ebpf.compiling.build import BuildRequest, build, code_of, fingerprint, sources
from nodeagent.sources.ebpf.compiling.hooks import Mode, Role
from nodeagent.sources.ebpf.problems import REMEDY, Cause, EbpfUnavailable


def python_with(module: str, folder: Path) -> str:
    """A Python that finds this text as its bcc, in spite of isolation."""
    (folder / "bcc.py").write_text(module)
    planted = folder / "python"
    planted.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    planted.chmod(0o755)
    return str(planted)


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
    built = build(BuildRequest(mode))
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
    assert build(BuildRequest(Mode.KPROBE, sources=copied)).code[Role.ACCOUNT]


@needs_btf
def test_a_compilers_complaint_is_shown(copied: Path) -> None:
    (copied / "flows.h").write_text('#error "the first line that matters"\n')
    with pytest.raises(EbpfUnavailable, match="the first line that matters") as raised:
        build(BuildRequest(Mode.KPROBE, sources=copied))
    assert raised.value.problem.kind is Cause.COMPILE_FAILED
    assert "bcc" in raised.value.problem.remedy
    assert "flows.h" in raised.value.problem.detail


@needs_btf
def test_without_bcc_the_distributions_package_is_named(tmp_path: Path) -> None:
    python = python_with("raise ImportError('No module named bcc')\n", tmp_path)
    with pytest.raises(EbpfUnavailable, match="python3-bpfcc") as raised:
        build(BuildRequest(Mode.KPROBE, python=python))
    assert raised.value.problem.kind is Cause.BCC_MISSING


@needs_btf
def test_a_bcc_that_is_another_project_is_told_by_its_version(tmp_path: Path) -> None:
    python = python_with("__version__ = '0.1-lattice'\n", tmp_path)
    with pytest.raises(EbpfUnavailable, match=r"bcc 0\.1-lattice") as raised:
        build(BuildRequest(Mode.KPROBE, python=python))
    assert raised.value.problem.kind is Cause.COMPILE_FAILED


@needs_btf
@pytest.mark.parametrize(
    ("version", "method", "kind"),
    [
        ("0.18.0", "dump_func", Cause.BCC_TOO_OLD),
        ("0.30.0", "dump", Cause.BCC_TOO_OLD),
        ("0.30.0", "dump_func", Cause.COMPILE_FAILED),
    ],
    ids=["an old version", "a missing function", "a version that should do"],
)
def test_a_bcc_that_is_too_old_is_told_from_one_that_fails(
    tmp_path: Path, version: str, method: str, kind: Cause
) -> None:
    binding = f"class BPF:\n    def __init__(self, **_): raise Exception('no')\n    {method} = None\n"
    python = python_with(f"__version__ = '{version}'\n{binding}", tmp_path)
    with pytest.raises(EbpfUnavailable, match=r"bcc 0\.(18|30)\.0") as raised:
        build(BuildRequest(Mode.KPROBE, python=python))
    assert raised.value.problem.kind is kind
    assert ("0.26 or later" in raised.value.problem.remedy) is (kind is Cause.BCC_TOO_OLD)


def test_an_old_bcc_that_compiles_is_good_enough(tmp_path: Path) -> None:
    stub = "class BPF:\n    def __init__(self, **_): pass\n    def dump_func(self, _): return bytes(8)\n"
    (tmp_path / "bcc.py").write_text(f"__version__ = '0.12'\n{stub}")
    script = (
        "import sys; from pathlib import Path; from nodeagent.sources.ebpf.compiling.child import _compile;"
        "from nodeagent.sources.ebpf.compiling.hooks import Mode, Plan;"
        "print(_compile(Path('x.c'), {'death': 'f'}, Plan(Mode.KPROBE, '', (), {}), {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "death" in done.stdout


def test_a_compilation_that_takes_too_long_names_what_to_raise(tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    with pytest.raises(EbpfUnavailable, match=r"longer than 0\.2 seconds") as raised:
        build(BuildRequest(Mode.KPROBE, python=str(slow), timeout=0.2))
    assert raised.value.problem.kind is Cause.COMPILE_TIMED_OUT
    assert "--compile-timeout" in raised.value.problem.remedy
    assert "bcc" not in raised.value.problem.remedy


def test_every_kind_has_its_remedy() -> None:
    assert set(REMEDY) == set(Cause)


def test_without_btf_the_kernels_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(EbpfUnavailable, match="CONFIG_DEBUG_INFO_BTF") as raised:
        build(BuildRequest(Mode.KPROBE, btf=tmp_path))
    assert raised.value.problem.kind is Cause.NO_BTF


@pytest.mark.parametrize("says", ["", "not JSON", "Killed"])
def test_a_compiling_process_that_dies_is_a_problem(tmp_path: Path, says: str) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(EbpfUnavailable, match="status 3") as raised:
        build(BuildRequest(Mode.KPROBE, python=str(broken)))
    assert raised.value.problem.kind is Cause.COMPILE_FAILED


def test_a_compiling_process_that_ran_out_of_memory_names_the_limit(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nkill -KILL $$\n")
    broken.chmod(0o755)
    with pytest.raises(EbpfUnavailable, match="memory limit") as raised:
        build(BuildRequest(Mode.KPROBE, python=str(broken)))
    assert raised.value.problem.kind is Cause.COMPILER_KILLED


def test_a_compiling_process_that_cannot_start_is_a_problem() -> None:
    with pytest.raises(EbpfUnavailable) as raised:
        build(BuildRequest(Mode.KPROBE, python="/nonexistent/python"))
    assert raised.value.problem.kind is Cause.COMPILE_FAILED


def test_the_compiler_does_not_stay_resident() -> None:
    assert "bcc" not in sys.modules


@pytest.mark.parametrize("file", ["state.h", "footprint.bpf.c", "shim/include/linux/types.h"])
def test_another_source_is_another_fingerprint(copied: Path, file: str) -> None:
    before = fingerprint(copied)
    assert before == fingerprint(sources())
    with (copied / file).open("a") as source:
        source.write("#define ANOTHER_BUILD 1\n")
    assert fingerprint(copied) != before


def test_comments_and_spacing_are_no_other_program(copied: Path) -> None:
    before = fingerprint(copied)
    state = copied / "state.h"
    state.write_text(
        "/* said\n * otherwise */\n\n" + state.read_text().replace("\tu64 ", "  u64  ") + "// the end\n"
    )
    (copied / "synthetic.bpf.c").write_text("/* only for tests */\n")
    assert fingerprint(copied) == before


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("a /* b */ c", "a c"),
        ("a; // b /* c\nd;", "a;\nd;"),
        ("/* one\n two */ e;", "e;"),
        ('char s[] = "/* kept   */"; // gone', 'char s[] = "/* kept   */";'),
        ("#define X \\\n  1", "#define X 1"),
        ("c = '\"'; /* \" */ d", "c = '\"'; d"),
    ],
)
def test_code_is_what_the_compiler_sees(written: str, code: str) -> None:
    assert code_of(written) == code


@pytest.mark.parametrize("way", ["current directory", "PYTHONPATH", "user's own packages"])
def test_code_that_somebody_planted_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    ran, version = tmp_path / "ran", f"python{sys.version_info.major}.{sys.version_info.minor}"
    planted = tmp_path / (f"lib/{version}/site-packages" if way == "user's own packages" else "planted")
    for name in ("nodeagent", "orjson", "bcc", "structlog", "json", "sitecustomize", "usercustomize"):
        (planted / name).mkdir(parents=True)
        (planted / name / "__init__.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    if way == "current directory":
        monkeypatch.chdir(planted)
    elif way == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(planted))
    else:
        monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    with suppress(EbpfUnavailable):  # without BTF or bcc; the imports come first
        build(BuildRequest(Mode.KPROBE))
    assert not ran.exists(), ran.read_text()


def test_the_child_gets_an_environment_of_its_own_and_the_root_as_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "x")
    told = tmp_path / "told"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n(pwd; env) > {told}\n")
    python.chmod(0o755)
    with pytest.raises(EbpfUnavailable):
        build(BuildRequest(Mode.KPROBE, python=str(python)))
    folder, *environment = told.read_text().splitlines()
    assert folder == "/"
    assert {line.partition("=")[0] for line in environment} <= {"PATH", "LC_ALL", "PWD", "_", "SHLVL", "OLDPWD"}
