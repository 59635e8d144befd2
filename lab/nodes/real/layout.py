# SPDX-License-Identifier: Apache-2.0
"""A small container image written by hand: one layer of given files, as an OCI layout.

Enters: files of this machine and where they go in the image, and the image's configuration. Leaves: a folder that
skopeo pushes. Guarantees: the same files give the same digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_LEVEL: Final = 1
"""Of gzip: one machine packs and unpacks, and nothing travels far."""


@dataclass(frozen=True)
class File:
    """A regular file of the image; with ``link``, a symbolic link instead."""

    target: str
    """Path in the image, without the leading slash."""
    source: Path | None = None
    text: str = ""
    mode: int = 0o755
    link: str = ""


def write(place: Path, files: Iterable[File], config: Mapping[str, Any]) -> None:
    """Write the image to ``place``; ``config`` is OCI's (``Entrypoint``, ``Cmd``, ``Env``, ``User``)."""
    layer = _tar(files)
    packed = gzip.compress(layer, _LEVEL, mtime=0)
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = [_blob(blobs, packed, _LAYER)]
    description = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _blob(blobs, json.dumps(description, sort_keys=True).encode(), _CONFIG),
        "layers": layers,
    }
    named = _blob(blobs, json.dumps(manifest, sort_keys=True).encode(), _MANIFEST)
    index = {
        "schemaVersion": 2,
        "manifests": [{**named, "annotations": {"org.opencontainers.image.ref.name": "image"}}],
    }
    (place / "index.json").write_text(json.dumps(index))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _tar(files: Iterable[File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        listed = sorted(files, key=lambda file: file.target)
        folders = {str(parent) for file in listed for parent in Path(file.target).parents} - {"."}
        for folder in sorted(folders):
            archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755))
        for file in listed:
            if file.link:
                entry = _entry(file.target, tarfile.SYMTYPE, 0o777)
                entry.linkname = file.link
                archive.addfile(entry)
                continue
            content = file.source.read_bytes() if file.source else file.text.encode()
            entry = _entry(file.target, tarfile.REGTYPE, file.mode)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _blob(blobs: Path, content: bytes, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}
