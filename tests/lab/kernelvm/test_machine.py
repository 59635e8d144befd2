# SPDX-License-Identifier: Apache-2.0
"""The machine's command line, the choice of kernels, the guest's Python packages, and the command's own errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernelvm import __main__ as cli
from lab.kernelvm import image, kernels, python_env, qemu, rootfs, vm
from lab.kernelvm.image import KernelImage

MACHINE = qemu.Machine(
    kernel=KernelImage(Path("/c/vmlinuz"), Path("/c/initramfs"), Path("/c/modules"), "linux_6.12"),
    rootfs=Path("/c/a,b/rootfs"), input=Path("/t/in"), output=Path("/t/out"),
)  # fmt: skip


def test_disks_come_in_the_order_in_which_the_guest_names_them() -> None:
    argv = qemu.command(MACHINE, console=Path("/t/console"))
    disks = [word.split(",format")[0] for word in argv if word.startswith("file=")]
    assert disks == ["file=/c/a,,b/rootfs", "file=/c/modules", "file=/t/in", "file=/t/out"]
    writable = [word for word in argv if word.startswith("file=") and "readonly=off" in word]
    assert len(writable) == 1
    assert "/t/out" in writable[0]


def test_further_disks_come_last_and_cannot_be_written() -> None:
    argv = qemu.command(replace(MACHINE, disks=(Path("/c/image"),)), console=None)
    disks = [word for word in argv if word.startswith("file=")]
    assert disks[-1].startswith("file=/c/image,")
    assert "readonly=on" in disks[-1]
    assert len(disks) == 5


def test_a_guest_has_no_network_device() -> None:
    argv = qemu.command(MACHINE, console=None)
    assert argv[argv.index("-nic") + 1] == "none"


def test_emulation_is_used_unless_asked_otherwise() -> None:
    assert "tcg,thread=multi" in qemu.command(MACHINE, console=None)


def test_a_counting_guest_has_one_processor_and_one_thread() -> None:
    argv = qemu.command(replace(MACHINE, accelerator="counted", processors=4), console=None)
    assert argv[argv.index("-smp") + 1] == "1"
    assert argv[argv.index("-accel") + 1] == "tcg,thread=single"
    assert argv[argv.index("-icount") + 1].startswith("shift=0")


@pytest.mark.parametrize("accelerator", qemu.ACCELERATORS)
def test_every_accelerator_is_told_to_qemu_once(accelerator: str) -> None:
    argv = qemu.command(replace(MACHINE, accelerator=accelerator), console=None)
    assert [argv.count(option) for option in ("-accel", "-cpu", "-smp")] == [1, 1, 1]


def test_an_accelerator_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="tcg, counted, kvm"):
        qemu.command(replace(MACHINE, accelerator="warp"), console=None)


def test_an_unknown_kernel_is_answered_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--kernel", "2.4", "--", "true"]) == 2
    said = capsys.readouterr().err
    for kernel in kernels.KERNELS:
        assert kernel.name in said
    assert "Traceback" not in said


def test_a_machine_without_qemu_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(qemu, "PROGRAM", "no-such-qemu")
    monkeypatch.setattr(image, "image", lambda _: MACHINE.kernel)
    monkeypatch.setattr(rootfs, "image", lambda: MACHINE.rootfs)
    (tmp_path / "a.py").write_text("")
    with pytest.raises(LabError, match=r"packages\.sh kernelvm"):
        vm.run(kernels.KERNELS[0], ["true"], checkout=tmp_path)


def test_the_guests_python_gets_what_the_project_needs_and_not_its_lint() -> None:
    found = python_env.versions(python_env.distributions())
    assert {"pydantic", "kubernetes", "structlog", "pytest", "pytest-timeout"} <= set(found)
    assert not {"traffic-footprint", "mypy", "ruff", "matplotlib"} & set(found)


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(LabError, match="no-such-distribution"):
        python_env.distributions(["no-such-distribution"])
