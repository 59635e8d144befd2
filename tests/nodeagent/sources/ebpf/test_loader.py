# SPDX-License-Identifier: Apache-2.0
"""Ways to start, tried in order, with every refusal injected."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodeagent.sources.base import SourceUnavailable
from nodeagent.sources.ebpf import loader, programs
from nodeagent.sources.ebpf.compiling.build import Build, BuildRequest
from nodeagent.sources.ebpf.compiling.hooks import Mode, plan
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import VerifierError
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable
from nodeagent.sources.ebpf.source import EbpfSource
from tests.nodeagent.sources.ebpf.kernels import kernel


@pytest.fixture(autouse=True)
def _logs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier's whole log is kept for a person to read. These tests' logs go with the tests."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class Kernel:
    """Stands for the system calls; ``refuse`` maps a call, or a function attached to, to its errno."""

    def __init__(self) -> None:
        self.refuse: dict[str, int] = {}
        self.attached: list[str] = []
        self.open: list[int] = []
        self._loaded_for: dict[int, str] = {}

    def fd(self) -> int:
        made = os.open(os.devnull, os.O_RDONLY)
        self.open.append(made)
        return made

    def check(self, *names: str) -> None:
        for name in names:
            if name in self.refuse:
                raise OSError(self.refuse[name], os.strerror(self.refuse[name]))

    def map_create(self, *_: object, name: str, **__: object) -> int:
        self.check("map_create", name)
        return self.fd()

    def program_load(self, kind: bpf.ProgramType, _: bytes, *, name: str, **__: object) -> int:
        self.check(f"load {kind.name}")
        if name in self.refuse:
            raise VerifierError(self.refuse[name], "R1 is wrong\nprocessed 3 insns")
        made = self.fd()
        self._loaded_for[made] = f"fentry {name}"
        return made

    def attach_fentry(self, program: int) -> int:
        self.check("attach_fentry", self._loaded_for[program])
        self.attached.append(self._loaded_for[program])
        return self.fd()

    def open_kprobe(self, function: str) -> int:
        self.check("open_kprobe", f"kprobe {function}")
        self.attached.append(f"kprobe {function}")
        return self.fd()

    def attach_perf_event(self, *_: int) -> int:
        return self.fd()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    fake = Kernel()
    for name in ("map_create", "program_load", "attach_fentry", "open_kprobe", "attach_perf_event"):
        monkeypatch.setattr(bpf, name, getattr(fake, name))

    def built(request: BuildRequest) -> Build:
        fake.check("build")
        chosen = plan(kernel(), None, mode=request.mode, machine="x86_64", without=request.without)
        return Build(chosen, {hook.role: bytes(8) for hook in chosen.hooks})

    monkeypatch.setattr(loader, "build", built)
    monkeypatch.setattr(programs, "missing_capabilities", lambda _: ("CAP_BPF",))
    yield fake
    for fd in fake.open:  # every one must have been closed by now
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def started(options: Options | None = None) -> loader.Session:
    return loader.start(options or Options(pins=None))


def test_fentry_is_taken_when_it_works_and_death_is_hooked_first(refusing: Kernel) -> None:
    session = started()
    assert session.mode == Mode.FENTRY
    assert refusing.attached == ["fentry tf_death", "fentry tf_birth", "fentry tf_account"]
    session.close(keep=False)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, 524])
def test_where_fentry_is_refused_kprobes_serve(refusing: Kernel, number: int) -> None:
    refusing.refuse["attach_fentry"] = number
    session = started()
    assert session.mode == Mode.KPROBE
    assert refusing.attached == [
        "kprobe nf_conntrack_free", "kprobe __nf_conntrack_hash_insert", "kprobe nf_ct_acct_add"
    ]  # fmt: skip
    session.close(keep=False)


def test_one_function_that_cannot_be_hooked_is_replaced(refusing: Kernel) -> None:
    refusing.refuse |= {"kprobe nf_conntrack_free": errno.EINVAL, "kprobe nf_ct_acct_add": errno.ENOENT}
    session = started(Options(modes=(Mode.KPROBE,), pins=None))
    assert session.functions == ("__nf_ct_refresh_acct", "__nf_conntrack_hash_insert", "nf_ct_destroy")
    session.close(keep=False)


def test_when_neither_works_both_are_told(refusing: Kernel) -> None:
    refusing.refuse |= {"load TRACING": errno.EPERM, "open_kprobe": errno.EACCES}
    with pytest.raises(
        EbpfUnavailable, match=r"fentry: loading .* kprobe: attaching to nf_conntrack_free"
    ) as raised:
        started()
    assert raised.value.problem.kind is Cause.NO_PERMISSION


def test_the_verifiers_words_and_its_whole_log_are_kept(refusing: Kernel) -> None:
    refusing.refuse["tf_birth"] = errno.EINVAL
    with pytest.raises(EbpfUnavailable, match="R1 is wrong") as raised:
        started()
    assert raised.value.problem.kind is Cause.VERIFIER
    assert "processed 3 insns" in raised.value.problem.detail


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOMEM, Cause.MAP_REFUSED), (errno.EPERM, Cause.NO_PERMISSION)]
)
def test_a_map_that_is_refused_is_a_problem(refusing: Kernel, number: int, kind: Cause) -> None:
    refusing.refuse["tf_flows"] = number
    with pytest.raises(EbpfUnavailable) as raised:
        started()
    assert raised.value.problem.kind is kind


def test_what_no_mode_can_mend_is_tried_once(refusing: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mode] = []

    def missing(request: BuildRequest) -> Build:
        asked.append(request.mode)
        raise EbpfUnavailable(EbpfProblem(Cause.BCC_MISSING, "no bcc"))

    monkeypatch.setattr(loader, "build", missing)
    with pytest.raises(SourceUnavailable, match="python3-bpfcc"):
        started()
    assert asked == [Mode.FENTRY]
    assert refusing.attached == []


def test_a_source_that_cannot_open_leaves_nothing_open(refusing: Kernel) -> None:
    refusing.refuse |= {"load TRACING": errno.EPERM, "open_kprobe": errno.ENOSYS}
    source = EbpfSource(options=Options(pins=None))
    with pytest.raises(SourceUnavailable, match="ebpf: "):
        source.open()
    source.close()
    with pytest.raises(SourceUnavailable, match="not open"):
        source.read(0.0)


def test_pins_of_nobody_are_no_predecessor(tmp_path: Path) -> None:
    assert loader.adopt(Options(pins=tmp_path)) is None


def test_half_a_predecessor_is_unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / str(loader.own_namespace())
    here.mkdir()
    (here / "config").touch()
    monkeypatch.setattr(bpf, "open_pinned", _raising(errno.EINVAL))
    assert loader.adopt(Options(pins=tmp_path)) is None
    assert not here.exists()


def _raising(number: int) -> Callable[[Path], int]:
    def refuse(_: Path) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


def kept_ones(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the loader builds was kept, unless it asks for a fresh one. Leaves whether it asked."""
    asked: list[bool] = []
    compiled = loader.build  # type: ignore[attr-defined]

    def build(request: BuildRequest) -> Build:
        asked.append(request.fresh)
        made = compiled(request)
        return made if request.fresh else replace(made, code=dict.fromkeys(made.code, b"\xff" * 8), kept=True)

    monkeypatch.setattr(loader, "build", build)
    return asked


def test_a_kept_program_that_the_kernel_refuses_is_compiled_anew(
    refusing: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, load = kept_ones(monkeypatch), bpf.program_load

    def verified(kind: bpf.ProgramType, code: bytes, **options: Any) -> int:
        if code == b"\xff" * 8:
            raise VerifierError(errno.EINVAL, "unknown opcode ff")
        return load(kind, code, **options)

    monkeypatch.setattr(bpf, "program_load", verified)
    session = started()
    assert (session.mode, asked) == (Mode.FENTRY, [False, True])
    session.close(keep=False)
    assert refusing.attached


def test_a_kept_program_is_not_compiled_anew_where_nothing_may_be_loaded(
    refusing: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = kept_ones(monkeypatch)
    refusing.refuse |= {"load TRACING": errno.EPERM, "load KPROBE": errno.EPERM}
    with pytest.raises(EbpfUnavailable):
        started()
    assert asked == [False, False]  # one for each way to attach


def test_a_program_that_names_a_map_that_there_is_not_is_refused(
    refusing: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = loader.build  # type: ignore[attr-defined]
    unknown = struct.pack("=BBhi", 0x18, 1 << 4, 0, 99) + bytes(8)
    monkeypatch.setattr(
        loader, "build", lambda request: replace(made := compiled(request), code=dict.fromkeys(made.code, unknown))
    )
    with pytest.raises(EbpfUnavailable, match="map 99"):
        started()
    assert refusing.attached == []
