# SPDX-License-Identifier: Apache-2.0
"""The flags of ``shadow``."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from footprint.keys import DEFAULT_NAMESPACE
from plugin.connection import PROGRAM, ConnectionSettings
from plugin.output.flags import DocumentOutput

SERVICE: Final = "traffic-footprint-extender:metrics"
"""As the chart names it, and its port without certificates."""


class ShadowSettings(ConnectionSettings):
    """Shows what an extender in shadow mode (--shadow) would have changed, had it acted."""

    model_config = SettingsConfigDict(
        cli_prog_name=f"{PROGRAM} shadow", cli_shortcuts={"namespace": "n", "output": "o"}
    )

    url: str = ""
    """Address of a running extender, such as http://127.0.0.1:8890. Absent: the API server's service proxy."""

    release_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """Namespace of the release, and so of the extender's Service."""

    namespace: str | None = None
    """Old name of --release-namespace. It still works, and says so."""

    service: str = Field(SERVICE, min_length=1)
    """The extender's Service, as NAME or NAME:PORT."""

    output: DocumentOutput = ""
    """json, yaml or jsonpath=TEMPLATE. Absent: a table."""

    @model_validator(mode="after")
    def _one_namespace(self) -> Self:
        if self.namespace is not None and "release_namespace" in self.model_fields_set:
            raise ValueError("--namespace is the old name of --release-namespace: give --release-namespace alone")
        return self

    @property
    def where(self) -> str:
        """Namespace of the extender's Service."""
        return self.release_namespace if self.namespace is None else self.namespace
