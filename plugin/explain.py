# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint explain``: what the extender would say of a pod, and why.

Enters: a pod (by name, or a manifest) and a cluster (live, or saved in a file). Leaves: the verdict as a table
or as JSON. The same functions answer as in the extender, by the same settings, whose flags have the same names and
defaults here; only how old something is is judged by the cluster's own clocks.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
import structlog
import yaml
from pydantic import BaseModel, ValidationError, create_model
from rich.console import Group
from rich.table import Table
from rich.text import Text

from extender.api.explainer import explained
from extender.cluster.offline import SavedCluster, StateFileError, read_objects, state_of
from extender.model.pods import PodInfo, decode_pod
from extender.model.trafficfootprint import API_VERSION, KIND, PLURAL
from extender.placement.policy import Policy
from extender.settings import PlacementName, Settings
from footprint.cluster.client import ApiError
from footprint.declared import PlacementMode
from footprint.keys import DEFAULT_NAMESPACE
from footprint.service import fail
from footprint.units import parse_bandwidth

SHARED: Final = (
    "placement", "relax_after", "stale_after", "ledger_hold", "default_elephant_bandwidth", "learn",
)  # fmt: skip
"""Settings of the extender on which a verdict rests."""

_FIELDS: Final[dict[str, Any]] = {
    name: (field.annotation, field) for name, field in Settings.model_fields.items() if name in SHARED
}


class _Shared(BaseModel):
    """What the checks of ``extender.settings`` leave of flags."""

    placement: PlacementName
    relax_after: float
    stale_after: float
    ledger_hold: float
    default_elephant_bandwidth: str
    learn: bool


_Used: Final[type[_Shared]] = create_model("_Used", __base__=_Shared, **_FIELDS)

Items = Callable[[str], list[dict[str, Any]]]
"""All objects of an API path."""


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """The ``explain`` command."""
    parser = commands.add_parser("explain", parents=[common], help="which nodes suit a pod, and why")
    parser.add_argument("pod", nargs="?", metavar="POD", help="a pod's name")
    parser.add_argument("-n", "--namespace", default="default", help="the pod's namespace (%(default)s)")
    parser.add_argument(
        "-f", "--filename", type=Path, help="a manifest of a pod, or of a workload with a template"
    )
    parser.add_argument("--state", type=Path, help="a saved `kubectl get nodes,pods,leases -A -o json`")
    parser.add_argument("--lease-namespace", default=DEFAULT_NAMESPACE, help="of the agents' Leases (%(default)s)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    same = parser.add_argument_group("the extender's settings", "Give those that the extender was started with.")
    for name in SHARED:
        default, flag = Settings.model_fields[name].default, _flag(name)
        if isinstance(default, bool):
            same.add_argument(flag, action=argparse.BooleanOptionalAction, default=default,
                              help=f"the extender's {flag} (on)")  # fmt: skip
        else:
            same.add_argument(flag, default=default, help=f"the extender's {flag} (%(default)s)")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _used(arguments: argparse.Namespace) -> _Shared:
    """The settings as the extender reads them. Ends the program when one cannot be understood."""
    try:
        return _Used.model_validate({name: getattr(arguments, name) for name in SHARED})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        fail(
            f"{_flag(str(first['loc'][0]))} {first.get('input')!r}: {first['msg']}",
            "see `traffic-footprint-extender run --help`",
        )


def _unusual(used: _Shared) -> dict[str, Any]:
    """Settings that are not the default ones."""
    values = {name: getattr(used, name) for name in SHARED}
    return {name: value for name, value in values.items() if value != Settings.model_fields[name].default}


def manifest(path: Path, namespace: str) -> dict[str, Any]:
    """The Pod in a manifest, or the one that its workload would make. Ends the program when there is none."""
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        fail(f"{path} cannot be read: {str(error).splitlines()[0]}", "name a manifest with -f FILE")
    if not isinstance(found, dict) or not isinstance(found.get("spec"), dict):
        fail(f"{path} holds no single Kubernetes object with a spec", "name a manifest of a Pod or a Deployment")
    if found.get("kind") in ("Pod", None):
        return _placed(found, namespace)
    return _placed(_pod_of(found), str((found.get("metadata") or {}).get("namespace") or namespace))


def _placed(pod: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**pod, "metadata": {"namespace": namespace, **(pod.get("metadata") or {})}}


def _pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    """A pod as a controller would make it of ``workload``'s template."""
    spec = workload["spec"]
    if isinstance(spec.get("jobTemplate"), dict):
        spec = spec["jobTemplate"].get("spec") or {}
    template = spec.get("template")
    if not isinstance(template, dict):
        fail(f"a {workload.get('kind')} without spec.template", "name a manifest of a Pod or a Deployment")
    name = str((workload.get("metadata") or {}).get("name") or "pod")
    owner = {"kind": workload.get("kind"), "name": name, "controller": True}
    metadata = {**(template.get("metadata") or {}), "name": name, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": template.get("spec") or {}}


def _live(items: Items, lease_namespace: str) -> list[dict[str, Any]]:
    paths = {
        "Node": "/api/v1/nodes",
        "Lease": f"/apis/coordination.k8s.io/v1/namespaces/{quote(lease_namespace, safe='')}/leases",
        "Pod": "/api/v1/pods",
    }
    # Lists leave their items' kind out.
    found = [{**item, "kind": kind} for kind, path in paths.items() for item in items(path)]
    try:
        found += [{**item, "kind": KIND} for item in items(f"/apis/{API_VERSION}/{PLURAL}")]
    except ApiError as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):  # as the extender: goes without
            raise
    return found


def _asked(arguments: argparse.Namespace, cluster: SavedCluster) -> PodInfo:
    if arguments.filename is not None:
        try:
            named = decode_pod(manifest(arguments.filename, arguments.namespace))
            f"{named.ns}{named.name}".encode()  # YAML can spell what nothing can print
            return named
        except (ValueError, TypeError) as error:
            fail(f"{arguments.filename}: {error}", "give the pod a metadata.name")
    pod = cluster.pod(arguments.namespace, arguments.pod)
    if pod is None:
        where = str(arguments.state) if arguments.state else "the cluster"
        fail(f"no pod {arguments.namespace}/{arguments.pod} in {where}", "name its namespace with -n NAMESPACE")
    return pod


@contextmanager
def _without_logs() -> Iterator[None]:
    """What a running extender would log stands in the explanation; standard output belongs to it alone."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _cluster(arguments: argparse.Namespace, learn: bool, items: Callable[[], Items]) -> SavedCluster:
    if arguments.state is None:
        return SavedCluster(_live(items(), arguments.lease_namespace), learn=learn)
    try:
        return SavedCluster(read_objects(arguments.state), learn=learn)
    except StateFileError as error:
        fail(f"--state {error}")


def told(arguments: argparse.Namespace, items: Callable[[], Items]) -> dict[str, Any]:
    """The explanation. ``items`` connects to the API server; it is called only without ``--state``."""
    if (arguments.pod is None) is (arguments.filename is None):
        fail("explain needs a pod's name or a manifest, not both", "kubectl footprint explain POD, or -f FILE")
    used = _used(arguments)
    with _without_logs():
        cluster = _cluster(arguments, used.learn, items)
        state = state_of(
            cluster, stale=used.stale_after, hold=used.ledger_hold,
            default_rate=parse_bandwidth(used.default_elephant_bandwidth),
        )  # fmt: skip
    policy = Policy(PlacementMode(used.placement), used.relax_after, hold=used.ledger_hold)
    told = explained(_asked(arguments, cluster), None, state, policy)
    return told | ({"settings": unusual} if (unusual := _unusual(used)) else {})


def _record(record: dict[str, Any]) -> str:
    """One line: what people stated, and what is remembered."""
    stated = ", ".join(f"{field} {value}" for field, value in record["spec"].items() if value is not None)
    parts = [stated and f"spec: {stated}", record["status"] or "no status yet"]
    parts += [f"{part} not understood" for part in record["malformed"]]
    return "; ".join(part for part in parts if part)


def _rank(item: tuple[str, dict[str, Any]]) -> tuple[int, str]:
    """The best first, those that were rejected last."""
    name, node = item
    return (1 if node["score"] is None else -node["score"], name)


def rendered(told: dict[str, Any]) -> Group:
    """The explanation for people."""
    pod = told["pod"]
    lines = [f"{pod['namespace']}/{pod['name']}, workload {pod['workload']}: {told['demand']['text']}"]
    if "settings" in told:
        values = [
            _flag(f"no-{name}") if value is False else f"{_flag(name)} {value}"
            for name, value in told["settings"].items()
        ]
        lines.append(f"not by default: {', '.join(values)}")
    lines.append(f"placement {told['placement']}" + (f": {pod['exempt']}" if pod["exempt"] else ""))
    if pod["node"]:
        lines.append(f"runs on {pod['node']}, which is shown as it would be without this pod")
    if (record := told["traffic_footprint"]) is not None:
        lines.append(f"TrafficFootprint {record['name']}: {_record(record)}")
    lines += told["problems"]
    if told["mice_free_links_scarce"]:
        lines.append("links without mice are scarce: mice are kept together")
    if (chosen := told["committed_to"]) is not None:
        lines.append(f"committed to {chosen}: one of the nodes that suit it best, so that the next pod knows")
    table = Table("NODE", "SCORE", "PASSES", "WAITING", "HARM", "SLOWDOWN", "ROOM", "WHY", box=None)
    for name, node in sorted(told["nodes"].items(), key=_rank):
        cost = node.get("cost") or {}
        terms = [f"{cost[term]:.2f}" if cost else "-" for term in ("waiting", "harm", "slowdown", "room")]
        why = node.get("unsuitable") or node.get("load") or f"{node['state']}: {node['why']}"
        score = "-" if node["score"] is None else str(node["score"])  # kube-scheduler asks for none
        table.add_row(name, score, "yes" if node["passes"] else "no", *terms, why)
    return Group(*map(Text, lines), table)


def as_json(told: dict[str, Any]) -> str:
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
