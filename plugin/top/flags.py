# SPDX-License-Identifier: Apache-2.0
"""The flags of ``top``, apart from what it does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import CliToggleFlag, SettingsConfigDict

from footprint.keys import DEFAULT_NAMESPACE
from plugin.connection import PROGRAM, NamespaceSettings
from plugin.output.flags import SHORT


class TopSettings(NamespaceSettings):
    """Shows the cluster's pods or nodes live, those with the most elephant traffic first.

    Keys: p and n choose pods or nodes, < and > what to sort by, r the other way round, / a text to filter by, c a
    class, space holds the picture, arrows scroll, h helps, q ends. Where the output is no terminal, it is a table.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} top", cli_shortcuts=SHORT)

    namespace: str | None = None
    """Only pods of this namespace. Absent: of every namespace, since they share the links."""

    all_namespaces: CliToggleFlag[bool] = False
    """Pods of every namespace, which is the default."""

    nodes: CliToggleFlag[bool] = False
    """Begin with the nodes."""

    node: str = ""
    """Only this node."""

    class_: Literal["elephant", "mouse", "mixed", "quiet", "unknown"] | None = Field(None, alias="class")
    """Only pods of this class."""

    sort_by: str = ""
    """A column's name, such as tx. Absent: elephant traffic."""

    no_headers: CliToggleFlag[bool] = False
    """Where the output is no terminal: a table without its first line."""

    lease_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """Namespace of the agents' Leases: the release's."""

    @property
    def only_namespace(self) -> str | None:
        """None for all."""
        return None if self.all_namespaces else self.namespace
