# SPDX-License-Identifier: Apache-2.0
"""The flags of ``nodes`` and ``pods``, apart from what they do: ``--help`` and completion need these alone."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg, CliToggleFlag, SettingsConfigDict

from footprint.keys import DEFAULT_NAMESPACE
from plugin.connection import PROGRAM, ConnectionSettings, NamespaceSettings
from plugin.output.flags import SHORT, OutputSettings


class ListingSettings(OutputSettings, ConnectionSettings):
    """What both lists take."""

    name: CliPositionalArg[list[str]] = Field([])
    """Only these. Absent: all."""

    selector: str = ""
    """Only those with these labels, as kubectl's -l: zone=a, zone!=a, zone in (a,b)."""

    field_selector: str = ""
    """Only those whose fields match, as kubectl's, such as metadata.name=NAME."""

    sort_by: str = ""
    """A column's name, such as elephants or tx (greatest first), or a JSONPath such as .metadata.name."""

    watch: CliToggleFlag[bool] = False
    """Go on, and print what changes, until Ctrl-C."""

    lease_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """Namespace of the agents' Leases: the release's."""

    @property
    def selectors(self) -> dict[str, str]:
        """As the API takes them."""
        given = {"labelSelector": self.selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in given.items() if value}

    @model_validator(mode="after")
    def _names_or_selectors(self) -> Self:
        if self.name and self.selectors:
            raise ValueError(
                "names and selectors exclude each other; give either names, or -l and --field-selector"
            )
        return self


class NodesSettings(ListingSettings):
    """Shows each node's link, the classes of its pods, the agent's source and health, and its heartbeat.

    ELEPHANTS is the share of the link, in percent of OF LINK, that elephant flows use in the busier direction. A
    node with several uplinks has a line for each below its own, which is that of the one whose elephants use most.
    OF LINK says where the capacity comes from: stated, the driver, estimated (and how sure), or assumed.

    With -o wide, COVERAGE is bytes counted over bytes that the links carried, DATAPATH where they are counted,
    FLOWS the elephant flows now and the new flows per second, and LOSSES why bytes are missing.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} nodes", cli_shortcuts=SHORT)


class PodsSettings(ListingSettings, NamespaceSettings):
    """Shows each pod that a node agent measured, the busiest of each node first.

    TX and RX are rates of the link, FLOWS/S new flows per second, ELEPHANTS the pod's elephant flows now. SEEN is
    when the agent of its node was last heard of. Pods without traffic over the link may be missing.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} pods", cli_shortcuts=SHORT)

    node: str = ""
    """Only pods of this node."""

    class_: Literal["elephant", "mouse", "mixed", "quiet", "unknown"] | None = Field(None, alias="class")
    """Only pods of this class."""

    workload: str = ""
    """Only pods of this workload, such as Deployment/web."""
