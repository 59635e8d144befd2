# SPDX-License-Identifier: Apache-2.0
"""Starting a guest: a crash of QEMU or its kernel before the guest's session is survived, and nothing later.

A shell script stands for QEMU: it is started, killed and read from like it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernelvm import image, qemu, rootfs, vm
from lab.kernelvm.image import KernelImage
from lab.kernelvm.kernels import KERNELS

_SCRIPT = """#!/bin/sh
echo start >>{folder}/starts
for word; do
    case $word in
    file=*readonly=off*) disk=${{word#file=}}; disk=${{disk%%,*}} ;;
    file:*) console=${{word#file:}} ;;
    esac
done
starts=$(wc -l <{folder}/starts)
crash() {{ kill -SEGV $$; sleep 60; }}
begin() {{ echo "{begins}" >"$console"; }}
panic() {{ echo "[    6.4] Kernel panic - not syncing: Fatal exception in interrupt" >>"$console"; exit 0; }}
finish() {{ echo "a line"; cat {folder}/answer.tar >"$disk"; exit 0; }}
{behaviour}
"""


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make QEMU behave; the file that gets a line per start."""
    folder = tmp_path / "fake"
    folder.mkdir()
    files = KernelImage(folder / "vmlinuz", folder / "initramfs", folder / "modules", "linux")
    monkeypatch.setattr(image, "image", lambda _: files)
    monkeypatch.setattr(rootfs, "image", lambda: folder / "rootfs")
    monkeypatch.setattr(qemu, "PROGRAM", str(folder / "qemu"))
    with tarfile.open(folder / "answer.tar", "w") as tar:
        status = tarfile.TarInfo("status")
        status.size = 2
        tar.addfile(status, io.BytesIO(b"5\n"))

    def behave(behaviour: str) -> Path:
        script = folder / "qemu"
        script.write_text(_SCRIPT.format(folder=folder, begins=vm.SESSION_BEGINS, behaviour=behaviour))
        script.chmod(0o755)
        return folder / "starts"

    return behave


def run(tmp_path: Path, write: Callable[[bytes], object] = lambda _: None) -> vm.GuestResult:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "a.py").write_text("")
    return vm.run(KERNELS[0], ["true"], checkout=checkout, write=write, timeout=30)


@pytest.mark.parametrize(("crashes", "crash"), [(0, "crash"), (1, "crash"), (2, "crash"), (2, "panic")])
def test_a_crash_before_the_session_is_followed_by_another_start_which_is_said(
    starts: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], crashes: int, crash: str
) -> None:
    log = starts(f'[ "$starts" -gt {crashes} ] || {crash}\nbegin\nfinish')
    heard: list[bytes] = []
    assert run(tmp_path, heard.append).status == 5
    assert b"".join(heard) == b"a line\n"
    assert len(log.read_text().splitlines()) == crashes + 1
    assert capsys.readouterr().err.count("starting it again") == crashes


@pytest.mark.parametrize(("crash", "says"), [("crash", "status -11"), ("panic", "Fatal exception in interrupt")])
def test_qemu_is_started_three_times_at_most(
    starts: Callable[[str], Path], tmp_path: Path, crash: str, says: str
) -> None:
    log = starts(crash)
    with pytest.raises(LabError, match=says):
        run(tmp_path)
    assert len(log.read_text().splitlines()) == vm.STARTS == 3


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("begin; crash", "status -11"),  # whatever it did is not done twice
        ("echo no such machine >&2; exit 1", "no such machine"),  # another start would say the same
        ("begin; panic", "without sending a status"),
        ("exit 0", "without sending a status"),  # the guest gave up by itself: it found no disk, and would again
    ],
)
def test_nothing_else_is_started_again(
    starts: Callable[[str], Path], tmp_path: Path, behaviour: str, says: str
) -> None:
    log = starts(behaviour)
    with pytest.raises(LabError, match=says):
        run(tmp_path)
    assert len(log.read_text().splitlines()) == 1
