# SPDX-License-Identifier: Apache-2.0
"""npm's packages of the page, and a look at the page in Chromium.

Enters: the lock beside this file. Leaves: a folder of packages in the user's cache, and findings of ``look.mjs``.
Raises LabError where npm or a browser is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError

HERE: Final = Path(__file__).parent
VENDOR: Final = HERE.parents[1] / "extender" / "page" / "web" / "vendor"
FILES: Final = {
    "uPlot.js": "dist/uPlot.iife.min.js",
    "uPlot.css": "dist/uPlot.min.css",
    "uPlot.LICENSE.txt": "LICENSE",
}
"""What the page serves of the package ``uplot``."""
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_LOOK_SECONDS: Final = 480


def chromium() -> str | None:
    """The browser's path; None: there is none."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def npm() -> str | None:
    """npm's path; None: there is none."""
    return shutil.which("npm") if shutil.which("node") else None


def packages() -> Path:
    """The folder in which npm installed what the lock names. Raises LabError."""
    program = npm()
    if program is None:
        raise LabError("node and npm are missing; install them: apt-get install nodejs npm")
    lock = HERE / "package-lock.json"
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "traffic-footprint"
    folder = cache / f"page-{key}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", lock.name):
            shutil.copy(HERE / name, folder / name)
        command = [program, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"npm ci failed in {folder}: {done.stderr.strip()[-500:]}")
        (folder / "complete").touch()
    return folder


def vendored() -> dict[str, bytes]:
    """The files of ``VENDOR``, as the locked package has them. Raises LabError."""
    package = packages() / "node_modules" / "uplot"
    return {name: (package / source).read_bytes() for name, source in FILES.items()}


def look(url: str, folder: Path, *, quick: bool = False, only: str = "", elephants: int = 0) -> dict[str, Any]:
    """What ``look.mjs`` finds at ``url``; pictures in ``folder``. ``quick``: no decision is waited for. ``only``:
    take pictures of this name and nothing else, once so many pods have ``elephants`` (``awaited`` says whether
    they had). Raises LabError."""
    folder.mkdir(parents=True, exist_ok=True)
    return _driven("look.mjs", url, str(folder), f"only={only},{elephants}" if only else "quick" if quick else "")


def memory(url: str, warm: int, seconds: int) -> dict[str, Any]:
    """What ``memory.mjs`` reads after ``warm`` seconds of a replay, and ``seconds`` later. Raises LabError."""
    return _driven("memory.mjs", url, str(warm), str(seconds), patience=_LOOK_SECONDS + seconds)


def _driven(script: str, *arguments: str, patience: float = _LOOK_SECONDS) -> dict[str, Any]:
    """The JSON that one of our scripts prints. Raises LabError."""
    browser = chromium()
    if browser is None:
        raise LabError("no Chromium is here; install one: apt-get install chromium")
    command = ["node", str(HERE / script), str(packages()), browser, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the browser did not finish {script} within {patience:.0f} s") from error
    if done.returncode:
        raise LabError(f"the browser did not finish: {done.stderr.strip()[-1500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
