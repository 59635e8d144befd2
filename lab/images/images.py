# SPDX-License-Identifier: Apache-2.0
"""Built images: from the cache, or built first when the cache lacks them.

Enters: the checkout. Leaves: an Image: its file system as a folder, how it is to be run, its bill of materials and
its provenance. The cache is ``~/.cache/traffic-footprint/images``. An image's key there is a hash of all that went
in. Of each kind the two used last stay, and all that were used within hours.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lab.images import base, buildah, contents, inputs, layers, provenance, sbom
from lab.images.base import AREA
from lab.kernelvm import cache
from lab.kernelvm.progress import say

FORMAT: Final = 5
"""Raise when the way of building changes."""
_ABOUT: Final = "about.json"
_SBOM: Final = "sbom.cdx.json"
_PROVENANCE: Final = "provenance.json"


@dataclass(frozen=True)
class Image:
    """A built image."""

    component: str
    place: Path
    about: Mapping[str, Any]
    """``name``, ``digest``, ``id``, ``seconds`` (of the build), ``config`` (OCI), ``layers``, ``largest``."""

    @property
    def rootfs(self) -> Path:
        """Its file system. Others use it too: never write there."""
        return self.place / "rootfs"

    @property
    def layout(self) -> Path:
        """The image as an OCI layout, layers compressed by zstd: what is pushed to registries."""
        return self.place / "oci"

    @property
    def config(self) -> Mapping[str, Any]:
        """OCI's ``config``: User, Env, Entrypoint, Cmd, Labels, ..."""
        found: Mapping[str, Any] = self.about["config"]
        return found

    @property
    def sbom(self) -> Path:
        """Its bill of materials: CycloneDX 1.6, JSON."""
        return self.place / _SBOM

    @property
    def provenance(self) -> Path:
        """What it was made from: an in-toto statement, JSON, unsigned."""
        return self.place / _PROVENANCE


def image(component: str, checkout: Path = inputs.CHECKOUT) -> Image:
    """The image of ``component``, built first when the cache lacks it (one or two minutes). Raises LabError."""
    made = inputs.of(component, checkout)
    tar = base.tar()
    key = {"format": FORMAT, "base": tar.parent.name, "version": made.version, "revision": made.revision,
           "files": made.files}  # fmt: skip
    place = cache.built(component, key, lambda place: _build(made, checkout, tar, place), area=AREA)
    return Image(component, place, json.loads((place / _ABOUT).read_text()))


def _build(made: inputs.Inputs, checkout: Path, tar: Path, place: Path) -> None:
    base.prune(made.component, place)
    say(f"building {made.name}:{made.version} from {inputs.DOCKERFILE}", area=AREA)
    begun, clock = time.monotonic(), datetime.now(UTC)
    rootfs, name = place / "rootfs", f"localhost/{made.name}:{made.version}"
    with buildah.storage(place / "storage", cache.folder(AREA) / "downloads") as store:
        base_digest = store.import_base(tar)
        arguments = {
            "BASE_NAME": base.NAME, "BASE_DIGEST": base_digest,
            "VERSION": made.version, "REVISION": made.revision,
        }  # fmt: skip
        store.bud(checkout / inputs.DOCKERFILE, made.component, checkout, name, arguments)
        built = time.monotonic() - begun
        config = store.configuration(name)["config"]
        layout = place / "storage" / "layout"
        store.push(name, layout)
        measured, image_id = layers.measure(layout), layers.image_id(layout)
        store.export(name, place / "oci")
        digest = layers.digest(place / "oci")
        store.unpack(name, rootfs)
    debian, python = (list(found(rootfs).values()) for found in (contents.debian, contents.python))
    (place / _SBOM).write_text(sbom.document(made.name, made.version, debian, python))
    stated = provenance.statement(
        made, checkout, base=base.NAME, base_digest=base_digest, digest=digest, image_id=image_id,
        sbom=inputs.sha256(place / _SBOM), begun=clock, ended=datetime.now(UTC),
    )  # fmt: skip
    (place / _PROVENANCE).write_text(json.dumps(stated, indent=1) + "\n")
    about = {
        "name": f"{made.name}:{made.version}", "digest": digest, "id": image_id,
        "seconds": round(built, 1), "config": config,
        "layers": [layer.as_json() for layer in measured],
        "largest": [[part.name, part.version, part.size] for part in contents.largest((*debian, *python))],
    }  # fmt: skip
    (place / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    say(f"{made.name} is built ({time.monotonic() - begun:.0f} s), kept in {place.parent}", area=AREA)


def describe(made: Image) -> str:
    """Name, sizes, largest packages, image ID and documents of an image, as lines for a person."""
    measured = [layers.Layer(**layer) for layer in made.about["layers"]]
    lines = [f"{made.about['name']}  (built in {made.about['seconds']:g} s, {made.place})", layers.table(measured)]
    parts = ", ".join(f"{name} {version} {size / 1e6:.0f}" for name, version, size in made.about["largest"])
    documents = [f"bill of materials {made.sbom}", f"provenance {made.provenance}"]
    kept = [f"digest sha256:{made.about['digest']}", *documents]
    target = f"docker://REGISTRY/{made.about['name']}"
    push = f"push: skopeo copy --preserve-digests oci:{made.layout}:image {target}"
    return "\n".join([*lines, f"largest packages, MB: {parts}", *kept, push])
