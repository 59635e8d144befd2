# SPDX-License-Identifier: Apache-2.0
"""How large an image's layers are: as tar, as gzip and as zstd make them for a registry.

Enters: an image as a folder (transport `dir`), its layers uncompressed. Leaves: a Layer each, the base's first.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError

_COMPRESSORS: Final = {"gzip": ("gzip", "-6", "-c"), "zstd": ("zstd", "-3", "-q", "-c")}
"""At the levels that registries' clients use by default."""


@dataclass(frozen=True)
class Layer:
    """Sizes in bytes. ``what``: the ``base``, ``shared`` by both images, or ``ours``: of this image alone."""

    what: str
    tar: int
    gzip: int
    zstd: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(layout: Path) -> tuple[Layer, ...]:
    """The layers of the image in ``layout``. Raises LabError when a compressor is missing."""
    blobs = layer_blobs(layout)
    jobs = [(blob, argv) for blob in blobs for argv in _COMPRESSORS.values()]
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(lambda job: _compressed(*job), jobs))
    each = len(_COMPRESSORS)
    last = len(blobs) - 1
    return tuple(
        Layer(
            "base" if number == 0 else "ours" if number == last else "shared",
            blob.stat().st_size,
            *sizes[number * each : (number + 1) * each],
        )
        for number, blob in enumerate(blobs)
    )


def layer_blobs(layout: Path) -> list[Path]:
    """Files of the layers, the lowest first."""
    manifest: Mapping[str, Any] = json.loads((layout / "manifest.json").read_text())
    return [layout / layer["digest"].rpartition(":")[2] for layer in manifest["layers"]]


def image_id(layout: Path) -> str:
    """The SHA-256 of the image's configuration, hexadecimal. It names all layers as they are uncompressed, so that
    it stays the same wherever the image is copied."""
    manifest: Mapping[str, Any] = json.loads((layout / "manifest.json").read_text())
    return str(manifest["config"]["digest"]).rpartition(":")[2]


def digest(oci: Path) -> str:
    """The SHA-256 of the one image in an OCI layout, hexadecimal: what registries know it by."""
    (found,) = json.loads((oci / "index.json").read_text())["manifests"]
    return str(found["digest"]).rpartition(":")[2]


def table(layers: Iterable[Layer]) -> str:
    """Lines for people, in MB (10**6 bytes), the sum last."""
    listed = list(layers)
    total = Layer("sum", *(sum(getattr(layer, form) for layer in listed) for form in ("tar", "gzip", "zstd")))
    lines = [f"{'layer':<6} {'tar':>7} {'gzip':>7} {'zstd':>7}  MB"]
    lines += [
        f"{layer.what:<6} {layer.tar / 1e6:>7.1f} {layer.gzip / 1e6:>7.1f} {layer.zstd / 1e6:>7.1f}"
        for layer in [*listed, total]
    ]
    return "\n".join(lines)


def _compressed(blob: Path, argv: tuple[str, ...]) -> int:
    size = 0
    with blob.open("rb") as file, subprocess.Popen(argv, stdin=file, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        while chunk := process.stdout.read(2**20):
            size += len(chunk)
    if process.returncode:
        raise LabError(f"{argv[0]} failed on {blob}; run `lab/setup/packages.sh images` as root")
    return size
