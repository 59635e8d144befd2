# SPDX-License-Identifier: Apache-2.0
"""A connection to the API server by kubectl's flags.

Enters: flags with kubectl's names and meaning. Leaves: JSON objects from the API server. Reads only. Raises
ApiError and ClusterConfigError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from footprint.cluster.client import REQUEST_TIMEOUT, client_of, request
from footprint.cluster.listing import items
from plugin import kubeconfig

PROGRAM: Final = "kubectl-footprint"
_NEVER: Final = 1e7
"""Seconds that stand for no limit: four months."""
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: object) -> object:
    """Seconds of ``30s``, ``1m30s`` or a plain number, as kubectl. Raises ValueError that names the form."""
    if not isinstance(text, str):
        return text
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    if not text or _PART.sub("", text):
        raise ValueError(f"{text[:60]!r} is not a duration; write a number with a unit, such as 30s or 2m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class PluginSettings(BaseSettings):
    """Flags alone: kubectl's plugins read no variables of their own."""

    model_config = SettingsConfigDict(cli_kebab_case=True, use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """No environment; the command line is added to this."""
        return (init_settings,)


class ConnectionSettings(PluginSettings):
    """kubectl's flags that choose a cluster."""

    kubeconfig: str = ""
    """Kubeconfig file. Absent: the files in the variable KUBECONFIG, merged; without it ~/.kube/config."""

    context: str = ""
    """Context of the kubeconfig. Absent: its current context."""

    cluster: str = ""
    """Cluster of the kubeconfig. Absent: the context's."""

    user: str = ""
    """User of the kubeconfig. Absent: the context's."""

    request_timeout: Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=_NEVER)] = REQUEST_TIMEOUT[1]
    """Time to wait for one response, such as 30s or 2m; a plain number is seconds. 0: no limit."""

    @cached_property
    def reach(self) -> Cluster:
        """The cluster that the flags mean. Nothing is sent yet. Raises ClusterConfigError."""
        names = kubeconfig.Selection(self.kubeconfig, self.context, self.cluster, self.user)
        return Cluster(kubeconfig.load(names), self.seconds)

    @property
    def seconds(self) -> float:
        """To wait for one response."""
        return self.request_timeout or _NEVER


class Cluster:
    """An API server, read only."""

    def __init__(self, access: kubeconfig.Access, timeout: float) -> None:
        self.namespace = access.namespace
        """The context's, else ``default``."""
        self._api = client_of(access.configuration, user_agent=PROGRAM)
        self._timeout = (min(timeout, REQUEST_TIMEOUT[0]) if timeout < _NEVER else timeout, timeout)

    def read(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at ``path``. Raises ApiError."""
        return request(self._api, "GET", path, query=query, timeout=self._timeout)

    def items(self, path: str) -> list[dict[str, Any]]:
        """All objects of the collection at ``path``. Raises ApiError."""
        return list(items(lambda query: self.read(path, query)))
