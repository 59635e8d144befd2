# SPDX-License-Identifier: Apache-2.0
"""Built images: from the Dockerfiles when the cache lacks them.

In: the checkout. Out: an Image: its file system as a folder, and how it is to be run. Kept under
``~/.cache/traffic-footprint/images``, named by all that went into them; the two newest of each kind stay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.images import base, buildah, contents, inputs, layers
from lab.images.base import AREA
from lab.kernelvm import cache
from lab.kernelvm.progress import run, say
from lab.kernelvm.rootfs import STORED

FORMAT: Final = 2
"""Raise when the way of building changes."""
_ABOUT: Final = "about.json"
_SQUASHFS_REMEDY: Final = "run `lab/setup/packages.sh kernelvm` as root"


@dataclass(frozen=True)
class Image:
    """A built image."""

    component: str
    place: Path
    about: Mapping[str, Any]
    """``name``, ``seconds`` (of the build), ``config`` (OCI), ``layers``, ``largest``."""

    @property
    def rootfs(self) -> Path:
        """Its file system. Others use it too: never write there."""
        return self.place / "rootfs"

    @property
    def config(self) -> Mapping[str, Any]:
        """OCI's ``config``: User, Env, Entrypoint, Cmd, Labels, ..."""
        found: Mapping[str, Any] = self.about["config"]
        return found

    def squashfs(self) -> Path:
        """The file system as a disk image, made when it is first asked for. Raises LabError."""

        def build(place: Path) -> None:
            base.prune(kind, place)
            command = ["mksquashfs", str(self.rootfs), str(place / "rootfs.squashfs"), "-quiet", "-no-progress"]
            run([*command, *STORED], "packing the image's file system", remedy=_SQUASHFS_REMEDY, area=AREA)

        kind, source = f"squashfs-{self.component}", self.place.name
        return cache.built(kind, source, build, area=AREA) / "rootfs.squashfs"


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
    say(f"building {made.name}:{made.version} from {made.component}/Dockerfile", area=AREA)
    begun = time.monotonic()
    rootfs, name = place / "rootfs", f"localhost/{made.name}:{made.version}"
    with buildah.storage(place / "storage", cache.folder(AREA) / "downloads") as store:
        arguments = {
            "BASE_NAME": base.NAME, "BASE_DIGEST": store.import_base(tar),
            "VERSION": made.version, "REVISION": made.revision,
        }  # fmt: skip
        store.bud(checkout / made.component / "Dockerfile", checkout, name, arguments)
        built = time.monotonic() - begun
        config = store.configuration(name)["config"]
        layout = place / "storage" / "layout"
        store.push(name, layout)
        measured = layers.measure(layout)
        store.unpack(name, rootfs)
    parts = (*contents.debian(rootfs).values(), *contents.python(rootfs).values())
    about = {
        "name": f"{made.name}:{made.version}", "seconds": round(built, 1), "config": config,
        "layers": [layer.as_json() for layer in measured],
        "largest": [[part.name, part.version, part.size] for part in contents.largest(parts)],
    }  # fmt: skip
    (place / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    say(f"{made.name} is built ({time.monotonic() - begun:.0f} s), kept in {place.parent}", area=AREA)


def describe(made: Image) -> str:
    """What a person wants to know of an image, as lines."""
    measured = [layers.Layer(**layer) for layer in made.about["layers"]]
    lines = [f"{made.about['name']}  (built in {made.about['seconds']:g} s, {made.place})", layers.table(measured)]
    parts = ", ".join(f"{name} {version} {size / 1e6:.0f}" for name, version, size in made.about["largest"])
    return "\n".join([*lines, f"largest packages, MB: {parts}"])
