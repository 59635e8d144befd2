# SPDX-License-Identifier: Apache-2.0
"""What ``explain`` does: asks the extender's own functions."""

from __future__ import annotations

from typing import Any

from extender.cluster.offline import SavedCluster, StateFileError, state_of
from extender.cluster.state import ClusterState
from extender.model.pods import PodInfo, decode_pod
from extender.placement.explain import explain
from extender.placement.policy import Policy
from extender.settings import Settings
from footprint.commands import BadSettingError
from footprint.declared import PlacementMode
from footprint.service import fail
from footprint.units import parse_bandwidth
from plugin import state
from plugin.explain.explanation import rendered
from plugin.explain.flags import SHARED, Explain
from plugin.manifests import ManifestError, pods_of
from plugin.output.flags import form_of
from plugin.output.listing import document
from plugin.terminal import below, line, quiet_logs, show


def run(settings: Explain) -> int:
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


def verdicts(settings: Explain) -> list[dict[str, Any]]:
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


def _cluster(settings: Explain) -> SavedCluster:
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


def _named(settings: Explain, cluster: SavedCluster, namespace: str) -> PodInfo:
    assert settings.pod is not None  # noqa: S101 - checked with the settings
    pod = cluster.pod(namespace, settings.pod)
    if pod is None:
        where = str(settings.state) if settings.state else "the cluster"
        raise BadSettingError(
            f"no pod {namespace}/{settings.pod} in {where}", "name its namespace with -n NAMESPACE"
        )
    return pod


def _verdict(pod: PodInfo, made: ClusterState, settings: Explain) -> dict[str, Any]:
    snapshot = made.without(pod)
    policy = Policy(PlacementMode(settings.placement), settings.relax_after, hold=settings.ledger_hold)
    told = explain(pod, sorted(snapshot.nodes), snapshot, policy, made.now())
    unusual = _unusual(settings)
    return told | ({"settings": unusual} if unusual else {})


def _unusual(settings: Explain) -> dict[str, Any]:
    """The extender's settings that are not at their defaults."""
    values = {name: getattr(settings, name) for name in SHARED}
    return {name: value for name, value in values.items() if value != Settings.model_fields[name].default}
