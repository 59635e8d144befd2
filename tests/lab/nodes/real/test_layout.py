# SPDX-License-Identifier: Apache-2.0
"""Images written by hand: what is in them, and that the same files make the same image."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

from lab.nodes.real.layout import File, write


def _blob(place: Path, entry: dict[str, Any]) -> bytes:
    content: bytes = (place / "blobs" / "sha256" / entry["digest"].removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == entry["digest"]
    assert len(content) == entry["size"]
    return content


def _manifest(place: Path) -> dict[str, Any]:
    (named,) = json.loads((place / "index.json").read_text())["manifests"]
    found: dict[str, Any] = json.loads(_blob(place, named))
    return found


def test_files_links_folders_and_configuration_are_in_the_image(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"ELF")
    write(
        tmp_path / "image",
        [File("bin/sh", link="busybox"), File("bin/busybox", program), File("tmp/.keep", mode=0o644)],
        {"Entrypoint": ["/bin/sh"]},
    )
    manifest = _manifest(tmp_path / "image")
    config = json.loads(_blob(tmp_path / "image", manifest["config"]))
    layer = gzip.decompress(_blob(tmp_path / "image", manifest["layers"][0]))
    assert config["config"] == {"Entrypoint": ["/bin/sh"]}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=BytesIO(layer)) as archive:
        modes = {entry.name: oct(entry.mode) for entry in archive}
        assert modes == {
            "bin": "0o755", "tmp": "0o1777", "bin/busybox": "0o755", "bin/sh": "0o777", "tmp/.keep": "0o644",
        }  # fmt: skip
        content = archive.extractfile("bin/busybox")
        assert content is not None
        assert content.read() == b"ELF"
        assert archive.getmember("bin/sh").linkname == "busybox"


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    listed = [File("a", text="1"), File("b/c", text="2")]
    write(tmp_path / "one", listed, {})
    write(tmp_path / "two", list(reversed(listed)), {})
    assert (tmp_path / "one" / "index.json").read_text() == (tmp_path / "two" / "index.json").read_text()
