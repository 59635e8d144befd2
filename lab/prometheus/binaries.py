# SPDX-License-Identifier: Apache-2.0
"""Prometheus and promtool, of the distribution. Raises LabError with the remedy where they are missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.errors import LabError

_REMEDY: Final = "run `lab/setup/packages.sh prometheus` as root"
_SECONDS: Final = 60


def prometheus() -> str:
    """Path of the server."""
    return _found("prometheus")


def promtool() -> str:
    """Path of the checker."""
    return _found("promtool")


def _found(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise LabError(f"{name} is missing; {_REMEDY}")
    return path


def metrics_problems(page: bytes) -> str:
    """What ``promtool check metrics`` says of a page of metrics; empty: nothing."""
    return _said(["check", "metrics"], page)


def rules_problems(files: Sequence[Path]) -> str:
    """What ``promtool check rules`` says of rule files; empty: nothing. What is only bad style fails too."""
    return _said(["check", "rules", "--lint-fatal", *map(str, files)])


def tests_problems(files: Sequence[Path]) -> str:
    """What ``promtool test rules`` says of tests of rules; empty: all passed."""
    return _said(["test", "rules", *map(str, files)])


def _said(arguments: Sequence[str], page: bytes | None = None) -> str:
    done = subprocess.run([promtool(), *arguments], input=page, capture_output=True, timeout=_SECONDS, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    return (said or f"promtool failed with status {done.returncode}") if done.returncode else ""
