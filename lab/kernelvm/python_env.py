# SPDX-License-Identifier: Apache-2.0
"""The guest's Python packages: copies of those this environment runs, so that both run the same versions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from lab.errors import LabError

PROJECT: Final = "traffic-footprint"
EXTRA: Final = "nodeagent"
"""The guest runs the agent alone."""
TEST_TOOLS: Final = ("pytest", "pytest-timeout")


def distributions(roots: Iterable[str] = (PROJECT, *TEST_TOOLS)) -> dict[str, metadata.Distribution]:
    """Every distribution that ``roots`` need at run time, by name; the project itself (an editable install) not.

    Raises LabError when one is not installed here.
    """
    found: dict[str, metadata.Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            raise LabError(f"{name} is not installed in this Python environment; run `make setup`") from error
        waiting.extend(_needs(found[name]))
    found.pop(_normal(PROJECT), None)
    return dict(sorted(found.items()))


def versions(found: dict[str, metadata.Distribution]) -> dict[str, str]:
    """Name → version: what the guest's file system depends on."""
    return {name: distribution.version for name, distribution in found.items()}


def copy(found: dict[str, metadata.Distribution], into: Path) -> None:
    """Copy the modules of ``found`` to ``into``; scripts outside the package folder are left behind."""
    for distribution in found.values():
        for file in distribution.files or ():
            if ".." in file.parts:
                continue
            source = Path(str(distribution.locate_file(file)))
            if source.is_file():
                target = into / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)  # times too: they keep compiled modules valid


def _needs(distribution: metadata.Distribution) -> Iterator[str]:
    for text in distribution.requires or ():
        requirement = Requirement(text)
        extra = EXTRA if _normal(distribution.name) == _normal(PROJECT) else ""
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement.name


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
