# SPDX-License-Identifier: Apache-2.0
"""What a file system holds: the distribution's packages and Python's, with versions and sizes.

Enters: the root of an unpacked image. Leaves: Parts. It reads files, and runs nothing of the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Final

APPLICATION: Final = "opt/traffic-footprint"
SITE: Final = f"{APPLICATION}/lib/python3.11/site-packages"


@dataclass(frozen=True)
class Part:
    """One package."""

    name: str
    version: str
    size: int
    """Bytes: of a Debian package as it declares, of a Python package its files, bytecode included."""
    architecture: str = ""
    """Of a Debian package."""
    licence: str = ""
    """The SPDX expression by which a Python package names its licence, where it does."""


def debian(root: Path) -> dict[str, Part]:
    """The installed packages of the distribution, by name."""
    found = {}
    for stanza in re.split(r"\n\n+", (root / "var/lib/dpkg/status").read_text().strip()):
        fields = HeaderParser().parsestr(stanza)
        if str(fields["Status"]).endswith(" installed"):
            name = str(fields["Package"])
            size = int(fields["Installed-Size"] or 0) * 1024
            found[name] = Part(
                name, str(fields["Version"]), size, architecture=str(fields.get("Architecture", ""))
            )
    return found


def python(root: Path) -> dict[str, Part]:
    """The application's Python distributions, by normalised name."""
    site = root / SITE
    found = {}
    for distribution in metadata.distributions(path=[str(site)]):
        name = normalised(distribution.name)
        tops = {file.parts[0] for file in distribution.files or () if ".." not in file.parts}
        found[name] = Part(
            name,
            distribution.version,
            sum(_size(site / top) for top in tops),
            licence=distribution.metadata["License-Expression"] or "",
        )
    return found


def normalised(name: str) -> str:
    """A Python distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def largest(parts: Iterable[Part], number: int = 6) -> list[Part]:
    """Those that take most, in that order."""
    return sorted(parts, key=lambda part: part.size, reverse=True)[:number]


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file())
