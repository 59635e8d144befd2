# SPDX-License-Identifier: Apache-2.0
"""The images that a lab's registry serves: the product's as built, and small ones around programs at hand.

Enters: built programs. Leaves: an Image each: the name that manifests use, and an OCI layout in the cache.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.controlplane import pins as plane
from lab.errors import LabError
from lab.images import base, images, inputs
from lab.kernelvm import cache
from lab.nodes.real import files, pins
from lab.nodes.real.layout import File, write

BUSYBOX: Final = "docker.io/library/busybox:1.35"
_BUSYBOX: Final = Path("/bin/busybox")
_PAUSE: Final = Path(__file__).with_name("pause.c")
_REMEDY: Final = "run `lab/setup/packages.sh nodes` as root"


@dataclass(frozen=True)
class Image:
    """An image ready to be pushed."""

    name: str
    """As a pod names it, with its tag, such as ``registry.k8s.io/kube-scheduler:v1.37.2``."""
    layout: Path


def product(checkout: Path = inputs.CHECKOUT) -> Iterator[Image]:
    """Node agent and extender, built first when the cache lacks them (a minute each). Raises LabError."""
    for component in inputs.COMPONENTS:
        built = images.image(component, checkout)
        yield Image(f"docker.io/{built.about['name']}", built.layout)


def cluster(programs: Mapping[str, Path], versions: Mapping[str, Any]) -> Iterator[Image]:
    """What else pods of the lab run: pause, busybox, CoreDNS, kube-scheduler. Raises LabError."""
    yield _image("pause", files.PAUSE, _PAUSE, _pause, {"Entrypoint": ["/pause"], "User": "65535:65535"})
    yield _image("busybox", BUSYBOX, _BUSYBOX, _busybox, {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]})
    for program, name in ((pins.COREDNS, "registry.k8s.io/coredns/coredns"), (plane.KUBE_SCHEDULER, None)):
        repository = name or f"registry.k8s.io/{program}"
        config = {"Entrypoint": [program], "Env": ["PATH=/usr/local/bin"]}
        tagged = f"{repository}:v{versions[program]}"
        yield _image(program, tagged, programs[program], _single(program), config)


def _image(
    kind: str, name: str, source: Path, contents: Callable[[Path, Path], list[File]], config: Mapping[str, Any]
) -> Image:
    """``contents`` lists the files, given ``source`` and a folder to work in."""
    key = {"name": name, "source": str(source), "changed": source.stat().st_mtime_ns, "config": dict(config)}

    def build(place: Path) -> None:
        base.prune(f"small-{kind}", place)
        write(place / "oci", contents(source, place), config)

    return Image(name, cache.built(f"small-{kind}", key, build, area=base.AREA) / "oci")


def _pause(source: Path, place: Path) -> list[File]:
    program = place / "pause"
    _run("gcc", "-Os", "-static", "-o", str(program), str(source))
    return [File("pause", program)]


def _busybox(source: Path, _place: Path) -> list[File]:
    applets = [name for name in _run(str(source), "--list").split() if name != "busybox"]
    return [
        File("bin/busybox", source),
        *(File(f"bin/{name}", link="busybox") for name in applets),
        File("etc/passwd", text="root:x:0:0:root:/:/bin/sh\n", mode=0o644),
        File("tmp/.keep", mode=0o644),
    ]


def _single(program: str) -> Callable[[Path, Path], list[File]]:
    return lambda source, _place: [File(f"usr/local/bin/{program}", source)]


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabError(f"cannot start {argv[0]} ({error.strerror}); {_REMEDY}") from error
    if done.returncode:
        raise LabError(f"{' '.join(argv)} failed: {done.stderr.strip()}; {_REMEDY}")
    return done.stdout
