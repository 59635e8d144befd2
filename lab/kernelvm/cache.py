# SPDX-License-Identifier: Apache-2.0
"""Where built images are kept: outside the checkout, named by what went into them, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab.kernelvm.progress import say


def folder(area: str = "kernelvm") -> Path:
    """``$XDG_CACHE_HOME`` (default ``~/.cache``) ``/traffic-footprint/AREA``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "traffic-footprint" / area


def digest(inputs: Any) -> str:
    """The name of what is built from ``inputs`` (anything JSON can hold)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def built(kind: str, inputs: Any, build: Callable[[Path], None], *, area: str = "kernelvm") -> Path:
    """The folder made from ``inputs``; ``build`` fills it first when it is not there.

    Two processes never build the same thing: the second waits, and says so. A build that fails leaves nothing. The
    folder's time of change is that of its last use: what prunes the cache goes by it.
    """
    place = folder(area) / f"{kind}-{digest(inputs)}"
    if place.is_dir():
        with suppress(OSError):  # somebody else's cache can be read as well
            os.utime(place)
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.parent / f"{kind}.lock", kind, area):
        if not place.is_dir():
            scratch = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=place.parent))
            try:
                build(scratch)
                scratch.chmod(0o755)
                scratch.rename(place)  # within one file system: whole or not at all
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return place


@contextmanager
def _locked(path: Path, what: str, area: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {what}", area=area)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
