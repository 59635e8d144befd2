# SPDX-License-Identifier: Apache-2.0
"""The chart on a lab of real nodes, as an operator installs it."""

from __future__ import annotations

import os
import subprocess
from typing import Final

from lab import manifests
from lab.errors import LabError
from lab.nodes.real.cluster import RealLab

NAME: Final = "traffic-footprint"
"""Of the release and of its namespace."""


def install(lab: RealLab, *flags: str, minutes: int = 4) -> None:
    """Install the chart with Helm's ``flags``, and wait until its own probes call it ready. Raises LabError."""
    argv = [
        str(lab.helm_path), "--kubeconfig", str(lab.kubeconfig), "install", NAME, str(manifests.CHART),
        "--namespace", NAME, "--create-namespace", "--wait", f"--timeout={minutes}m", *flags,
    ]  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(lab.dir)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60 * minutes + 60)
    if done.returncode:
        raise LabError(f"the chart was not installed: {done.stderr.strip()}")
