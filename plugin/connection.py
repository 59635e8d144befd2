# SPDX-License-Identifier: Apache-2.0
"""kubectl's flags that choose a cluster.

Enters: flags with kubectl's names and meaning. Leaves: a Cluster. Guarantees: the Kubernetes client is imported
when a cluster is reached for, so that ``--help`` does not wait for it.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, CliToggleFlag, PydanticBaseSettingsSource, SettingsConfigDict

if TYPE_CHECKING:
    from plugin.cluster import Cluster

PROGRAM: Final = "kubectl-footprint"
NEVER: Final = 1e7
"""Seconds that stand for no limit: four months."""
_CONNECT_SECONDS: Final = 3.0
_RESPONSE_SECONDS: Final = 10.0
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

    as_: Annotated[str, Field(alias="as")] = ""
    """Act as this user, whom yours may impersonate."""

    as_group: str = ""
    """Act as a member of this group, with --as."""

    request_timeout: Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=NEVER)] = _RESPONSE_SECONDS
    """Time to wait for one response, such as 30s or 2m; a plain number is seconds. 0: no limit."""

    @cached_property
    def reach(self) -> Cluster:
        """The cluster that the flags mean. Nothing is sent yet. Raises ClusterConfigError."""
        from plugin import kubeconfig  # noqa: PLC0415
        from plugin.cluster import Cluster  # noqa: PLC0415

        names = kubeconfig.Selection(
            self.kubeconfig, self.context, self.cluster, self.user, self.as_, self.as_group
        )
        connect = min(self.request_timeout, _CONNECT_SECONDS) or NEVER
        return Cluster(kubeconfig.load(names), user_agent=PROGRAM, timeout=(connect, self.seconds))

    @property
    def seconds(self) -> float:
        """To wait for one response."""
        return self.request_timeout or NEVER


class NamespaceSettings(ConnectionSettings):
    """kubectl's flags that choose a namespace, beside those that choose a cluster."""

    namespace: str | None = None
    """Namespace. Absent: the context's."""

    all_namespaces: CliToggleFlag[bool] = False
    """Every namespace. It wins over --namespace, as with kubectl."""

    @property
    def chosen_namespace(self) -> str | None:
        """None for all. Raises ClusterConfigError."""
        return None if self.all_namespaces else self.namespace or self.reach.namespace
