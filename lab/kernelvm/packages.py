# SPDX-License-Identifier: Apache-2.0
"""The distribution's packages: which sources this machine uses, and single packages unpacked from them.

In: the machine's own apt configuration; nothing here names a mirror. Out: source stanzas of one release, and
folders with a package's files. No package is installed on this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.kernelvm.kernels import SUITE
from lab.kernelvm.progress import say

SOURCES_VARIABLE = "TRAFFIC_FOOTPRINT_KERNELVM_SOURCES"
"""A file in apt's sources format to use instead of this machine's own."""


def sources(root: Path = Path("/etc/apt")) -> str:
    """The entries of this machine's apt sources that serve ``SUITE``. Raises LabError when there are none."""
    chosen = os.environ.get(SOURCES_VARIABLE)
    if chosen:
        return _read(Path(chosen))
    files = [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]
    stanzas = [stanza for file in files if file.is_file() for stanza in select(_read(file), file.suffix)]
    if not stanzas:
        raise LabError(
            f"no apt source of this machine serves Debian {SUITE}, which the guest is made of; "
            f"name a sources file that does in {SOURCES_VARIABLE}"
        )
    return "\n".join(stanzas)


def select(text: str, suffix: str) -> Iterable[str]:
    """Those entries of one sources file that serve ``SUITE``, as one-line entries.

    One-line entries because one file must hold them all, and apt takes the two forms only from different files.
    """
    if suffix == ".sources":
        for stanza in re.split(r"\n\s*\n", text):
            yield from _one_line_entries(_fields(stanza))
    elif suffix == ".list":
        for line in text.splitlines():
            match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?\S+\s+(\S+)\s", line)
            if match and _serves(match[1]):
                yield line


def fetch(package: str, into: Path) -> str:
    """Unpack ``package`` (or the image that a kernel metapackage stands for) into ``into``; returns name_version.

    Raises LabError when apt cannot provide it.
    """
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".deb-") as scratch:
        found = _download(_resolved(package), Path(scratch))
        into.mkdir(exist_ok=True)
        _checked(["dpkg-deb", "--extract", str(found), str(into)], f"unpacking {found.name}")
        return found.name.rpartition("_")[0]


def _resolved(package: str) -> str:
    """A kernel metapackage's image; any other package is itself."""
    answer = _apt(["apt-cache", "show", "--no-all-versions", package])
    match = re.search(r"^Depends: (linux-image-[0-9]\S+)", answer, re.MULTILINE)
    return match[1] if match else package


def _download(package: str, scratch: Path) -> Path:
    # As root apt would drop to a user who cannot write here, and warn.
    _apt(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=scratch)
    return next(scratch.glob("*.deb"))


def _apt(argv: list[str], cwd: Path | None = None) -> str:
    """Run apt; once more with fresh lists when it fails, which outdated lists make it do."""
    try:
        return _checked(argv, argv[-1], cwd)
    except LabError:
        if os.geteuid() != 0:
            raise
        say(f"{' '.join(argv)} failed; refreshing apt's lists")
        _checked(["apt-get", "update", "-qq"], "refreshing apt's lists")
        return _checked(argv, argv[-1], cwd)


def _checked(argv: list[str], what: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabError(
            f"{what}: cannot start {argv[0]} ({error.strerror}); this needs a Debian machine"
        ) from error
    if done.returncode:
        raise LabError(f"{what}: {argv[0]} failed: {done.stderr.strip()}; try `apt-get update` as root")
    return done.stdout


def _serves(suite: str) -> bool:
    return suite == SUITE or suite in {f"{SUITE}-{pocket}" for pocket in ("updates", "security", "backports")}


def _fields(stanza: str) -> dict[str, str]:
    lines = [line for line in stanza.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
    pairs = (line.partition(":") for line in joined.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _one_line_entries(fields: dict[str, str]) -> Iterable[str]:
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {"no", "false"}:
        return
    signed = fields.get("signed-by", "")
    option = f"[signed-by={signed}] " if signed.startswith("/") else ""
    for uri in fields.get("uris", "").split():
        for suite in filter(_serves, fields.get("suites", "").split()):
            yield f"deb {option}{uri} {suite} {fields.get('components', '')}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LabError(f"cannot read apt sources {path}: {error.strerror}") from error
