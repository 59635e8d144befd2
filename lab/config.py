# SPDX-License-Identifier: Apache-2.0
"""The settings of a lab, and what follows from them without touching the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footprint.units import parse_bandwidth
from lab.errors import LabError
from lab.network.addresses import MAX_NODES
from lab.network.fabric import NodeSpec


@dataclass(frozen=True)
class LabConfig:
    """Settings of a lab. Raises LabError for those it cannot use."""

    nodes: int = 4
    """How many; they are called node1, node2, ..."""
    link: str = "200M"
    """Capacity of each node's uplink per direction, bit/s with a suffix."""
    link_stated: bool = True
    """Tell the agents what the links carry. Without it they have to find out."""
    extender: bool = True
    """Start the extender, and name it in kube-scheduler's configuration."""
    agents: bool = True
    """Start a node agent on every node."""
    agent_args: tuple[str, ...] = ()
    """Further flags of ``traffic-footprint-nodeagent run``."""
    extender_args: tuple[str, ...] = ()
    """Further flags of ``traffic-footprint-extender run``."""
    extender_weight: int | None = None
    """Weight of the extender's scores; None: the shipped configuration's."""
    node_cpu: str = "8"
    """Allocatable CPU of a node, as the scheduler sees it."""
    node_memory: str = "32Gi"
    audit: bool = False
    """Have the API server log the requests of service accounts, without bodies, to ``Lab.audit_log``."""
    keep_dir: Path | None = None
    """Where to copy logs (pods' too) when the lab ends; None: they are removed with the lab."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise LabError(f"{self.nodes} nodes: a lab has 1 to {MAX_NODES}; use --nodes N")
        try:
            parse_bandwidth(self.link)
        except ValueError as error:
            raise LabError(f"link capacity {error}; use --link 200M") from error
        for what, value in (("CPU", self.node_cpu), ("memory", self.node_memory)):
            if not re.fullmatch(r"\d+(\.\d+)?(m|[kMGT]i?)?", value):
                raise LabError(f"node {what} {value!r} is not a Kubernetes quantity such as 8 or 32Gi")

    @property
    def node_specs(self) -> tuple[NodeSpec, ...]:
        return tuple(NodeSpec(f"node{i}", i, self.link) for i in range(1, self.nodes + 1))

    def node_descriptions(self) -> list[dict[str, Any]]:
        """What the process that plays the nodes is told, for ``nodes.json``."""
        return [
            {"name": n.name, "index": n.index, "link": n.link, "cpu": self.node_cpu, "memory": self.node_memory}
            for n in self.node_specs
        ]
