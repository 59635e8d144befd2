# SPDX-License-Identifier: Apache-2.0
"""Whatever a page names exists: links, anchors, paths, modules, tests; and pages that the sources name.

Enters: a page and the checkout. Leaves: one line for each name that leads nowhere. Reads files, changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from lab.docs.tables import made_parts_removed

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_ROOTS: Final = (
    "bpf",
    "docs",
    "extender",
    "footprint",
    "helm",
    "lab",
    "manifests",
    "nodeagent",
    "plugin",
    "tests",
)
_PATH: Final = re.compile(rf"^(?:{'|'.join(_ROOTS)})/[\w./*-]*(?:::\w+)?$")
_MODULE: Final = re.compile(r"python3? -m (lab(?:\.\w+)*)")
_PAGE: Final = re.compile(r"\bdocs/[\w/-]+\.md\b")
_SOURCES: Final = (".py", ".c", ".h", ".yaml", ".tpl", ".txt", ".toml", ".sh", "Dockerfile", "Makefile")


def problems(path: Path, checkout: Path) -> Iterator[tuple[int, str]]:
    """(line, what leads nowhere) in the page ``path``."""
    page = path.read_text()
    for match in _LINK.finditer(page):
        if not re.match(r"[a-z]+:", match[1]) and (wrong := _broken(match[1], path)):
            yield _line(page, match), wrong
    for match in _SPAN.finditer(made_parts_removed(page)):
        if _PATH.match(match[1]) and (wrong := _missing(match[1], checkout)):
            yield _line(page, match), wrong
    for match in _MODULE.finditer(page):
        module = checkout / match[1].replace(".", "/")
        if not (module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()):
            yield _line(page, match), f"`python -m {match[1]}`: there is no such module"


def sources_problems(checkout: Path) -> Iterator[str]:
    """Pages that a source names and that do not exist."""
    files = [path for root in _ROOTS for path in sorted((checkout / root).rglob("*"))]
    for path in [*sorted(checkout.iterdir()), *files]:
        if path.name.endswith(_SOURCES) and path.is_file():
            for name in sorted(set(_PAGE.findall(path.read_text(errors="replace")))):
                if not (checkout / name).is_file():
                    yield f"{path.relative_to(checkout)}: names {name}, which does not exist"


def anchors(page: str) -> set[str]:
    """The fragments by which headings are reached, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        numbered = (f"{slug}-{number}" for number in range(1, 99))
        found.add(slug if slug not in found else next(name for name in numbered if name not in found))
    return found


def _broken(target: str, path: Path) -> str:
    """Why the link ``target`` in ``path`` leads nowhere; empty when it does not."""
    name, _, fragment = unquote(target).partition("#")
    there = (path.parent / name).resolve() if name else path
    if not there.exists():
        return f"the link {target} leads nowhere"
    if fragment and there.suffix == ".md" and fragment not in anchors(there.read_text()):
        return f"the link {target}: no heading of {there.name} has that anchor"
    return ""


def _missing(name: str, checkout: Path) -> str:
    """Why ``name``, a path or a path::test, does not exist; empty when it does."""
    path, _, test = name.partition("::")
    if "*" in path:
        return "" if any(checkout.glob(path)) else f"`{name}` matches nothing"
    if not (checkout / path).exists():
        return f"`{name}` does not exist"
    if test and f"def {test}" not in (checkout / path).read_text():
        return f"`{path}` has no {test}"
    return ""


def _line(page: str, match: re.Match[str]) -> int:
    return page.count("\n", 0, match.start()) + 1
