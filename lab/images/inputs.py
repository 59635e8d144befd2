# SPDX-License-Identifier: Apache-2.0
"""What an image is made from: the files of the build context, the version and the revision.

Enters: the checkout. Leaves: an Inputs, which names the built image in the cache. Guarantees: the files are those
that the Dockerfile copies, so that no image is made from a file that its key does not know.
"""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError

CHECKOUT: Final = Path(__file__).parents[2]
COMPONENTS: Final = ("nodeagent", "extender")
"""The images, each a target of the Dockerfile."""
DOCKERFILE: Final = "Dockerfile"
_SHARED: Final = ("requirements", "pyproject.toml", "README.md", "LICENSE", "LICENSES", "footprint")
_OWN: Final = {"nodeagent": ("nodeagent", "bpf"), "extender": ("extender", "plugin")}
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Inputs:
    """What decides an image's content."""

    component: str
    version: str
    """The project's, from pyproject.toml."""
    revision: str
    """The commit that last changed any of the files, with ``-dirty`` when they differ from it."""
    files: str
    """SHA-256 over the names and contents of all files."""

    @property
    def unversioned(self) -> bool:
        """Whether there is no commit to name."""
        return self.revision == _UNKNOWN

    @property
    def name(self) -> str:
        """The image's repository, as chart and manifests name it."""
        return f"traffic-footprint/{self.component}"


def of(component: str, checkout: Path = CHECKOUT) -> Inputs:
    """The inputs of ``component``'s image. Raises LabError for a component that there is not."""
    if component not in COMPONENTS:
        raise LabError(f"there is no image {component!r}; choose one of {', '.join(COMPONENTS)}")
    paths = (".dockerignore", DOCKERFILE, *_SHARED, *_OWN[component])
    return Inputs(
        component, version(checkout), revision(checkout, paths), digest(checkout, files(checkout, paths))
    )


def files(checkout: Path, paths: Iterable[str]) -> list[str]:
    """Relative paths of all files at or below ``paths``, compiled Python left out, sorted."""
    found = []
    for path in (checkout / path for path in paths):
        found.extend([path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()])
    names = (path.relative_to(checkout) for path in found if path.suffix != ".pyc")
    return sorted(str(name) for name in names)


def digest(checkout: Path, names: Iterable[str]) -> str:
    """SHA-256 over names, contents and whether each file is executable."""
    total = hashlib.sha256()
    for name in names:
        path = checkout / name
        content = path.read_bytes()
        total.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def sha256(path: Path) -> str:
    """Of one file's content, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version(checkout: Path) -> str:
    """The project's version."""
    with (checkout / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def revision(checkout: Path, paths: Iterable[str]) -> str:
    """The last commit that touched ``paths``, so that commits elsewhere leave an image as it is."""
    listed = list(paths)
    commit = _git(checkout, "log", "-1", "--format=%H", "--", *listed)
    if not commit:
        return _UNKNOWN
    return commit + ("-dirty" if _git(checkout, "status", "--porcelain", "--", *listed) else "")


def _git(checkout: Path, *arguments: str) -> str:
    """What git prints; nothing where there is no git, or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
