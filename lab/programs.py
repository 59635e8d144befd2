# SPDX-License-Identifier: Apache-2.0
"""Command lines of what a lab runs beside the control plane: node agents, extender, nodes. Pure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from footprint.keys import DEFAULT_NAMESPACE
from lab.errors import LabError
from lab.network.fabric import NodeSpec

CHECKOUT: Final = Path(__file__).parents[1]
MANIFESTS: Final = CHECKOUT / "manifests"

NAMESPACE: Final = DEFAULT_NAMESPACE
AGENT_ACCOUNT: Final = "traffic-footprint-nodeagent"
EXTENDER_ACCOUNT: Final = "traffic-footprint-extender"

EXTENDER_PORT: Final = 8890
EXTENDER_URL: Final = f"http://127.0.0.1:{EXTENDER_PORT}"
UPLINK: Final = "eth0"


def agent(node: NodeSpec, kubeconfig: Path, extra: Sequence[str], *, stated: bool = True) -> list[str]:
    """The node agent of ``node``. ``stated``: it is told what its link carries."""
    return [
        console_script("traffic-footprint-nodeagent"), "run",
        "--node-name", node.name, "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE,
        "--uplink", UPLINK, *(["--link-capacity", node.link] if stated else []),
        # Where the machine's kernel allows hooks, every node's agent would hang a program of its own on the one
        # kernel that plays all nodes; where it does not, each would find that out by compiling one.
        "--source", "ctnetlink",
        "--pod-metrics", "100",  # what single pods did is what tests and people look at here
        *extra,
    ]  # fmt: skip


def extender(kubeconfig: Path, extra: Sequence[str], port: int = EXTENDER_PORT) -> list[str]:
    """The scheduler extender, on the control plane's loopback."""
    return [
        console_script("traffic-footprint-extender"), "run",
        "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE,
        "--host", "127.0.0.1", "--port", str(port), *extra,
    ]  # fmt: skip


def nodes(lab_id: str, directory: Path, kubeconfig: Path, descriptions: Path) -> list[str]:
    """The process that plays the kubelets of all nodes."""
    return [
        sys.executable, "-m", "lab.nodes",
        "--lab-id", lab_id, "--dir", str(directory), "--kubeconfig", str(kubeconfig), "--nodes", str(descriptions),
    ]  # fmt: skip


def console_script(name: str) -> str:
    """Path of one of the project's commands, beside the Python that runs. Raises LabError when not installed."""
    path = Path(sys.executable).parent / name
    if not path.is_file():
        raise LabError(f"{path} is missing: the project is not installed in this environment; run `make setup`")
    return str(path)
