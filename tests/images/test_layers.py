# SPDX-License-Identifier: Apache-2.0
"""Sizes of layers, from an image as a folder; sizes of packages, from a file system."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lab.images import contents, layers
from lab.images.layers import Layer


def layout(place: Path, blobs: list[bytes]) -> Path:
    """A folder as ``buildah push`` writes it; blobs are named by number instead of by digest."""
    for number, blob in enumerate(blobs):
        (place / str(number)).write_bytes(blob)
    described = [{"digest": f"sha256:{number}"} for number in range(len(blobs))]
    (place / "manifest.json").write_text(json.dumps({"layers": described}))
    return place


def test_each_layer_is_measured_as_it_is_and_compressed(tmp_path: Path) -> None:
    base, ours = bytes(300_000), b"".join(number.to_bytes(4, "big") for number in range(50_000))
    first, second = layers.measure(layout(tmp_path, [base, ours]))
    assert (first.what, first.tar) == ("base", 300_000)
    assert (second.what, second.tar) == ("ours", 200_000)
    assert first.gzip == pytest.approx(len(gzip.compress(base, 6)), rel=0.2)
    assert second.gzip == pytest.approx(len(gzip.compress(ours, 6)), rel=0.2)
    assert 0 < first.zstd < 1000 < second.zstd < second.tar


def test_the_table_sums_up() -> None:
    shown = layers.table([Layer("base", 76_500_000, 30_000_000, 28_000_000), Layer("ours", 10**8, 10**7, 10**7)])
    assert shown.splitlines()[-1].split() == ["sum", "176.5", "40.0", "38.0"]


def test_packages_that_were_removed_do_not_count(tmp_path: Path) -> None:
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: bash\nStatus: install ok installed\nInstalled-Size: 10\nVersion: 5\n"
        "Description: a\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    assert contents.debian(tmp_path) == {"bash": contents.Part("bash", "5", 10240)}


def test_a_python_package_counts_with_its_bytecode(tmp_path: Path) -> None:
    site = tmp_path / contents.SITE
    for name, size in {"some/a.py": 100, "some/__pycache__/a.cpython-311.pyc": 50}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(bytes(size))
    about = site / "Some_Thing-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0\n")
    (about / "RECORD").write_text("some/a.py,,\nSome_Thing-1.0.dist-info/METADATA,,\n../../bin/tool,,\n")
    found = contents.python(tmp_path)["some-thing"]
    assert found.version == "1.0"
    assert 150 < found.size < 400


def test_the_largest_come_first() -> None:
    parts = [contents.Part(str(size), "1", size) for size in (3, 9, 5)]
    assert [part.size for part in contents.largest(parts, 2)] == [9, 5]
