# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint explain``: what the extender would say of a pod, and why.

Enters: a pod (its name, or manifests) and a cluster (live, or saved in a file). Leaves: the verdict as a table or
as JSON. The extender's own functions decide, by its own settings. The flags have the same names and defaults here.
Only ages differ: they are computed from the cluster's own clocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, create_model, model_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from extender.cluster.offline import SavedCluster, StateFileError, state_of
from extender.cluster.state import ClusterState
from extender.model.pods import PodInfo, decode_pod
from extender.placement.explain import explain
from extender.placement.policy import Policy
from extender.settings import PlacementName, Settings
from footprint.commands import BadSettingError
from footprint.declared import PlacementMode
from footprint.keys import DEFAULT_NAMESPACE
from footprint.service import fail
from footprint.units import parse_bandwidth
from plugin import state
from plugin.connection import PROGRAM, ConnectionSettings
from plugin.explanation import rendered
from plugin.manifests import ManifestError, pods_of
from plugin.output.flags import DocumentOutput, form_of
from plugin.output.listing import document
from plugin.terminal import below, line, quiet_logs, show

SHARED: Final = (
    "placement", "relax_after", "stale_after", "ledger_hold", "default_elephant_bandwidth", "learn",
)  # fmt: skip
"""Settings of the extender on which a verdict rests."""

_FIELDS: Final[dict[str, Any]] = {
    name: (field.annotation, field) for name, field in Settings.model_fields.items() if name in SHARED
}


class _Explain(ConnectionSettings):
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


ExplainSettings: Final[type[_Explain]] = create_model(
    "ExplainSettings", __base__=_Explain, __doc__=_Explain.__doc__, **_FIELDS
)


def run(settings: _Explain) -> int:
    """Print the verdict on each pod. Raises ApiError and ClusterConfigError; a bad file ends the program."""
    try:
        told = verdicts(settings)
    except ManifestError as error:
        fail(str(error))
    except StateFileError as error:
        fail(f"--state {error}")
    form = form_of(settings.output)
    if not form.is_table:
        show(document(told[0] if len(told) == 1 else {"items": told}, form), end=form.end)
        return 0
    for number, verdict in enumerate(told):
        show(below(line(""), rendered(verdict)) if number else rendered(verdict))
    return 0


def verdicts(settings: _Explain) -> list[dict[str, Any]]:
    """The verdict on each pod that ``settings`` mean. Raises as ``run``, and StateFileError and ManifestError."""
    namespace = settings.namespace or ("default" if settings.state else settings.reach.namespace)
    pods = [_decoded(pod) for pod in pods_of(settings.filename, namespace)] if settings.filename else []
    with quiet_logs():
        cluster = _cluster(settings)
        made = state_of(
            cluster, stale=settings.stale_after, hold=settings.ledger_hold,
            default_rate=parse_bandwidth(settings.default_elephant_bandwidth),
        )  # fmt: skip
    pods = pods or [_named(settings, cluster, namespace)]
    return [_verdict(pod, made, settings) for pod in pods]


def _cluster(settings: _Explain) -> SavedCluster:
    if settings.state is not None:
        return state.from_file(settings.state, learn=settings.learn)
    return state.from_api(settings.reach, lease_namespace=settings.lease_namespace, learn=settings.learn)


def _decoded(pod: dict[str, Any]) -> PodInfo:
    try:
        decoded = decode_pod(pod)
        f"{decoded.ns}{decoded.name}".encode()  # YAML can spell what nothing can print
    except Exception as error:  # a manifest may hold any shape
        raise ManifestError(f"a pod in the manifest cannot be read: {error}; give it a metadata.name") from error
    return decoded


def _named(settings: _Explain, cluster: SavedCluster, namespace: str) -> PodInfo:
    assert settings.pod is not None  # noqa: S101 - checked with the settings
    pod = cluster.pod(namespace, settings.pod)
    if pod is None:
        where = str(settings.state) if settings.state else "the cluster"
        raise BadSettingError(
            f"no pod {namespace}/{settings.pod} in {where}", "name its namespace with -n NAMESPACE"
        )
    return pod


def _verdict(pod: PodInfo, made: ClusterState, settings: _Explain) -> dict[str, Any]:
    snapshot = made.without(pod)
    policy = Policy(PlacementMode(settings.placement), settings.relax_after, hold=settings.ledger_hold)
    told = explain(pod, sorted(snapshot.nodes), snapshot, policy, made.now())
    unusual = _unusual(settings)
    return told | ({"settings": unusual} if unusual else {})


def _unusual(settings: _Explain) -> dict[str, Any]:
    """The extender's settings that are not at their defaults."""
    values = {name: getattr(settings, name) for name in SHARED}
    return {name: value for name, value in values.items() if value != Settings.model_fields[name].default}
