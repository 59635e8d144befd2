# SPDX-License-Identifier: Apache-2.0
"""The flags of ``rebalance``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from extender.rebalancing.config import RebalanceConfig
from extender.settings import PlacementName
from footprint.keys import DEFAULT_NAMESPACE
from plugin.connection import PROGRAM, ConnectionSettings
from plugin.output.flags import DocumentOutput


class RebalanceSettings(ConnectionSettings):
    """Says which pods run beside the wrong others, what moving them would gain, and why others stay.

    It moves nothing. It takes every move for worth it long enough, and every workload for not moved lately.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} rebalance", cli_shortcuts={"output": "o"})

    state: Path | None = None
    """A cluster saved with `kubectl get nodes,pods,leases,namespaces -A -o json`. Absent: the kubeconfig's."""

    release_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """The release's namespace: that of the agents' Leases."""

    restart_cost: float = Field(RebalanceConfig().restart_cost, gt=0, allow_inf_nan=False)
    """The extender's --rebalance-restart-cost: what a move must gain, in service times."""

    placement: PlacementName = "prefer"
    """The extender's --placement."""

    all_pods: bool = False
    """Show pods that suit their node as well."""

    output: DocumentOutput = ""
    """json, yaml or jsonpath=TEMPLATE. Absent: a table."""
