# SPDX-License-Identifier: Apache-2.0
"""The flags of ``explain``: kubectl's, and those settings of the extender on which a verdict rests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, create_model, model_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from extender.settings import PlacementName, Settings
from footprint.keys import DEFAULT_NAMESPACE
from plugin.connection import PROGRAM, ConnectionSettings
from plugin.output.flags import DocumentOutput

SHARED: Final = (
    "placement", "relax_after", "stale_after", "ledger_hold", "default_elephant_bandwidth", "learn",
)  # fmt: skip
"""Settings of the extender on which a verdict rests."""

_FIELDS: Final[dict[str, Any]] = {
    name: (field.annotation, field) for name, field in Settings.model_fields.items() if name in SHARED
}


class Explain(ConnectionSettings):
    """Says which nodes suit a pod, and why: what the extender would answer about it.

    Name a pod of the cluster, or give manifests with -f. A pod that runs is judged as if it did not run yet. The
    flags from --placement on are the extender's: give those that the extender was started with.
    """

    model_config = SettingsConfigDict(
        cli_prog_name=f"{PROGRAM} explain",
        cli_shortcuts={"namespace": "n", "filename": "f", "output": "o"},
    )

    pod: CliPositionalArg[str | None] = None
    """A pod's name."""

    namespace: str | None = None
    """The pod's namespace. Absent: the context's; with --state, default."""

    filename: list[str] = Field([])
    """File or folder with pods, or with workloads that have a pod template; - for standard input. May be repeated.
    YAML or JSON with any number of documents, Lists among them; other objects are passed over."""

    state: Path | None = None
    """A cluster saved with `kubectl get nodes,pods,leases -A -o json`. Absent: the cluster of the kubeconfig."""

    lease_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """Namespace of the agents' Leases: the release's."""

    output: DocumentOutput = ""
    """json, yaml or jsonpath=TEMPLATE. Absent: a table. Of several pods it is one object with a list of items."""

    # What the checks of the extender's settings leave; see ExplainSettings.
    placement: PlacementName
    relax_after: float
    stale_after: float
    ledger_hold: float
    default_elephant_bandwidth: str
    learn: bool

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.pod is None) is (not self.filename):
            raise ValueError(
                "explain needs a pod's name or a manifest, not both: kubectl footprint explain POD, or -f FILE"
            )
        return self


ExplainSettings: Final[type[Explain]] = create_model(
    "ExplainSettings", __base__=Explain, __doc__=Explain.__doc__, **_FIELDS
)
