# SPDX-License-Identifier: Apache-2.0
"""The initial RAM file system: what is in it, in which order, readable by others."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernelvm import cpio, image

DEPENDENCIES = """\
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz: kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio.ko.xz:
kernel/fs/squashfs/squashfs.ko.xz:
"""


def test_modules_come_after_all_they_need_and_once() -> None:
    order = image.load_order(DEPENDENCIES, ("virtio_blk", "virtio_ring", "squashfs", "built_in"))
    assert [Path(path).name for path in order] == [
        "virtio.ko.xz", "virtio_ring.ko.xz", "virtio_blk.ko.xz", "squashfs.ko.xz",
    ]  # fmt: skip


def test_a_compressed_module_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "m.ko.xz"
    packed.write_bytes(lzma.compress(b"module"))
    bare = tmp_path / "m.ko"
    bare.write_bytes(b"module")
    assert image.plain(packed) == image.plain(bare) == b"module"


def test_a_module_in_an_unknown_form_is_refused(tmp_path: Path) -> None:
    strange = tmp_path / "m.ko.lz9"
    strange.write_bytes(b"?")
    with pytest.raises(LabError, match=r"m\.ko\.lz9"):
        image.plain(strange)


def test_the_initramfs_holds_init_busybox_and_the_modules_in_loading_order(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    for path in (line.partition(":")[0] for line in DEPENDENCIES.splitlines()):
        (modules / path).parent.mkdir(parents=True, exist_ok=True)
        (modules / path).write_bytes(lzma.compress(path.encode()))
    (modules / "modules.dep").write_text(DEPENDENCIES)
    archive = image.initramfs(modules, b"busybox")
    for part in (b"init\0", b"bin/busybox\0", b"TRAILER!!!\0"):
        assert part in archive
    places = [archive.index(name) for name in (b"00-virtio.ko", b"01-virtio_ring.ko", b"02-virtio_blk.ko")]
    assert places == sorted(places)


@pytest.mark.skipif(
    shutil.which("cpio") is None, reason="the cpio program, which this is compared with, is absent"
)
def test_the_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = cpio.archive([cpio.Entry("folder"), cpio.Entry("folder/file", b"content", 0o640)])
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=tmp_path, check=True)
    file = tmp_path / "folder/file"
    assert file.read_bytes() == b"content"
    assert file.stat().st_mode & 0o777 == 0o640


def test_every_part_of_the_archive_begins_at_a_multiple_of_four() -> None:
    for size in range(5):
        archive = cpio.archive([cpio.Entry("a" * (size + 1), b"x" * size), cpio.Entry("last", b"")])
        assert len(archive) % 4 == 0
        assert archive.count(b"070701") == 3
        starts = [at for at in range(len(archive)) if archive.startswith(b"070701", at)]
        assert all(start % 4 == 0 for start in starts)
