# SPDX-License-Identifier: Apache-2.0
"""What is said when a guest cannot run here: one line, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernelvm import __main__ as command
from lab.kernelvm import preconditions, qemu

PLENTY = 2**40


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with QEMU and much memory."""
    (tmp_path / qemu.PROGRAM).write_text("#!/bin/sh\n")
    (tmp_path / qemu.PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(preconditions, "available_memory", lambda: PLENTY)


def test_emulation_needs_no_device(tmp_path: Path) -> None:
    preconditions.check("tcg", 2048, tmp_path / "kvm")
    preconditions.check("counted", 2048, tmp_path / "kvm")


def test_kvm_without_its_device_is_told_with_what_works_instead(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"kvm cannot be opened \(No such file.*use tcg.*--device /dev/kvm"):
        preconditions.check("kvm", 2048, tmp_path / "kvm")
    (tmp_path / "kvm").write_text("")
    preconditions.check("kvm", 2048, tmp_path / "kvm")


def test_too_little_memory_is_told_in_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    enough = 2 * 2**30 + preconditions.OWN_MEMORY
    monkeypatch.setattr(preconditions, "available_memory", lambda: enough)
    preconditions.check("tcg", 2048)
    monkeypatch.setattr(preconditions, "available_memory", lambda: enough - 1)
    with pytest.raises(LabError, match=r"a guest takes about 2\.5 GiB of memory and 2\.5 are available"):
        preconditions.check("tcg", 2048)


def test_without_qemu_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert command.main(["run", "--kernel", "6.12", "--", "true"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "qemu-system-x86_64 is not installed" in line
    assert "run `lab/setup/packages.sh kernelvm` as root" in line
