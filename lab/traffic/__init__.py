# SPDX-License-Identifier: Apache-2.0
"""Elephants, mice and their servers: plain programs that start fast, run in pods and print JSON lines.

They need the standard library alone. ``argv`` builds their command lines.
"""

from __future__ import annotations

import sys
from pathlib import Path


def argv(program: str, *arguments: str) -> list[str]:
    """Command line of ``elephant``, ``mouse``, ``mouse_server`` or ``sink``; no site packages, a quick start."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name(f"{program}.py")), *arguments]
