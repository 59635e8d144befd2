# SPDX-License-Identifier: Apache-2.0
"""A cluster as an API server shows it, in memory: healthy, and easy to break.

Collections are by path. ``Fake`` answers as an API server does, selectors included.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml

from extender.model.trafficfootprint import API_VERSION, PLURAL
from footprint.classes import TrafficClass
from footprint.cluster.client import ApiError
from footprint.codec import encode
from footprint.keys import FIELD_MANAGER, GROUP, NODE_FOOTPRINT, lease_name
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from plugin.doctor.diagnose import diagnose
from plugin.doctor.facts import Facts
from plugin.doctor.finding import Diagnosis, Finding
from plugin.doctor.gather import gather
from plugin.doctor.objects import at
from tests.plugin.doctor.authority import encoded, issue

NOW: Final = datetime.now(UTC).replace(microsecond=0)
SPACE: Final = "traffic-footprint"
NAME: Final = "traffic-footprint"
HOST: Final = f"{NAME}-extender.{SPACE}.svc"
VERSION: Final = "0.1.0"
Object = dict[str, Any]

NODES: Final = "/api/v1/nodes"
PODS: Final = "/api/v1/pods"
OURS: Final = f"/api/v1/namespaces/{SPACE}"
SYSTEM: Final = "/api/v1/namespaces/kube-system"
APPS: Final = f"/apis/apps/v1/namespaces/{SPACE}"
LEASES: Final = f"/apis/coordination.k8s.io/v1/namespaces/{SPACE}/leases"
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
CRD: Final = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
SERVED: Final = f"/apis/{API_VERSION}"
RECORDS: Final = f"{SERVED}/{PLURAL}"
CONFIG: Final = f"{OURS}/configmaps/{NAME}-scheduler"
POLICY: Final = f"{ADMISSION}/validatingadmissionpolicies/{NAME}-"
ROUTING: Final = f"{ADMISSION}/mutatingadmissionpolicies"
ROUTING_BINDING: Final = f"{ADMISSION}/mutatingadmissionpolicybindings"
NAMESPACES: Final = "/api/v1/namespaces"
BINDING: Final = f"{ADMISSION}/validatingadmissionpolicybindings/{NAME}-"
SECRET: Final = f"{OURS}/secrets/{NAME}-"
M: Final = 1e6


def moment(ago: float = 0) -> str:
    return (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def footprint(**fields: Any) -> NodeFootprint:
    """A node with an elephant and a mouse on a stated link."""
    pods = (
        PodFootprint("u1", "shop", "web-1", "Deployment/web", TrafficClass.MOUSE, tx=2 * M, rx=M, nf=9.0, ms=1.0),
        PodFootprint("u2", "lake", "copy-1", "Job/copy", TrafficClass.ELEPHANT, tx=90 * M, etx=90 * M, el=3),
    )
    known: dict[str, Any] = {
        "src": "ebpf-fentry", "cap": LinkRates(1e9, 1e9), "pods": pods, "el": LinkRates(90 * M, 0), "up": "eth0",
        "by": "stated", "used": LinkRates(92 * M, M),
    }  # fmt: skip
    return NodeFootprint(**{**known, **fields})


def node(name: str, said: NodeFootprint | str | None = None) -> Object:
    found = encode(said or footprint()).text if not isinstance(said, str) else said
    return {"metadata": {"name": name, "annotations": {NODE_FOOTPRINT: found} if found else {}}}


def lease(node_name: str, *, ago: float = 5, skew: float = 0, stamped: bool = True) -> Object:
    """Renewed ``ago`` seconds before, by a clock that is ``skew`` seconds ahead."""
    fields = [{"manager": FIELD_MANAGER, "operation": "Update", "time": moment(ago)}] if stamped else []
    return {
        "metadata": {"name": lease_name(node_name), "namespace": SPACE, "managedFields": fields},
        "spec": {"leaseDurationSeconds": 180, "renewTime": moment(ago - skew).replace("Z", ".000000Z")},
    }


def _labels(component: str) -> Object:
    return {
        "app.kubernetes.io/component": component, "app.kubernetes.io/version": VERSION,
        "helm.sh/chart": f"{NAME}-{VERSION}", "app.kubernetes.io/instance": NAME,
        "app.kubernetes.io/managed-by": "Helm",
    }  # fmt: skip


def pod(component: str, suffix: str, on: str, spec: Object | None = None, **status: Any) -> Object:
    """A running pod of the release."""
    return {
        "metadata": {"name": f"{NAME}-{component}-{suffix}", "namespace": SPACE, "labels": _labels(component)},
        "spec": {"nodeName": on, **(spec or _spec(component))},
        "status": {
            "phase": "Running", "startTime": moment(3600), "podIP": "10.9.0.7",
            "conditions": [{"type": "Ready", "status": "True"}], **status,
        },
    }  # fmt: skip


def _spec(component: str) -> Object:
    """Of its pods, as the chart writes it."""
    if component == "extender":
        tls = "/etc/traffic-footprint/tls"
        return {
            "serviceAccountName": f"{NAME}-extender",
            "containers": [{
                "image": f"{NAME}/extender:{VERSION}",
                "args": ["run", f"--tls-cert={tls}/tls.crt", f"--tls-key={tls}/tls.key",
                         f"--client-ca={tls}/ca.crt", "--metrics-port=8891"],
                "env": [{"name": "TRAFFIC_FOOTPRINT_LEARN", "value": "true"},
                        {"name": "TRAFFIC_FOOTPRINT_SHADOW", "value": "false"}],
                "volumeMounts": [{"name": "tls", "mountPath": tls}],
            }],
            "volumes": [{"name": "tls", "secret": {"secretName": f"{NAME}-extender-tls"}}],
        }  # fmt: skip
    if component == "scheduler":
        return {
            "serviceAccountName": f"{NAME}-scheduler",
            "containers": [{
                "image": "registry.example/kube-scheduler:v1.37.2",
                "command": ["kube-scheduler", "--config=/etc/traffic-footprint/scheduler/config.yaml"],
                "volumeMounts": [{"name": "config", "mountPath": "/etc/traffic-footprint/scheduler"},
                                 {"name": "tls", "mountPath": "/etc/traffic-footprint/tls"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": f"{NAME}-scheduler"}},
                        {"name": "tls", "secret": {"secretName": f"{NAME}-scheduler-tls"}}],
        }  # fmt: skip
    return {
        "serviceAccountName": f"{NAME}-nodeagent", "containers": [{"image": f"{NAME}/nodeagent:{VERSION}"}],
    }  # fmt: skip


def workload(component: str, **status: int) -> Object:
    return {
        "metadata": {
            "name": f"{NAME}-{component}",
            "namespace": SPACE,
            "generation": 1,
            "labels": _labels(component),
        },
        "spec": {"replicas": 2, "template": {"spec": _spec(component)}},
        "status": {"observedGeneration": 1, "readyReplicas": 2, **status},
    }


def scheduler_config(**entry: Any) -> Object:
    """The chart's; ``entry`` replaces fields of the extender's entry."""
    tls = "/etc/traffic-footprint/tls"
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "percentageOfNodesToScore": 10, "profiles": [{"schedulerName": NAME}],
        "extenders": [{
            "urlPrefix": f"https://{HOST}:8890", "filterVerb": "filter", "prioritizeVerb": "prioritize",
            "weight": 5, "nodeCacheCapable": True, "ignorable": True, "httpTimeout": "500ms", "enableHTTPS": True,
            "tlsConfig": {"certFile": f"{tls}/tls.crt", "keyFile": f"{tls}/tls.key", "caFile": f"{tls}/ca.crt",
                          "serverName": HOST},
            **entry,
        }],
    }  # fmt: skip


def config_map(config: object) -> Object:
    return {
        "metadata": {"name": f"{NAME}-scheduler", "namespace": SPACE},
        "data": {"config.yaml": yaml.safe_dump(config)},
    }


def page(*, requests: float = 40, failed: float = 0, known: float = 3, unknown: float = 0, connected: int = 1,
         ends: float | None = None, learning: str = "followed", version: str = VERSION) -> str:  # fmt: skip
    """A replica's metrics."""
    p = "traffic_footprint_extender_"
    ends = (NOW + timedelta(days=365)).timestamp() if ends is None else ends
    return "\n".join([
        f"# TYPE {p}nodes gauge",
        f'{p}nodes{{state="known"}} {known}', f'{p}nodes{{state="stale"}} {unknown}',
        f"# TYPE {p}requests_total counter",
        f'{p}requests_total{{verb="filter",result="decided"}} {requests}',
        f'{p}requests_total{{verb="filter",result="late"}} {failed}',
        f"# TYPE {p}watch_connected gauge",
        *(f'{p}watch_connected{{resource="{one}"}} {connected}' for one in ("nodes", "leases", "pods")),
        f'{p}watch_connected{{resource="trafficfootprints"}} {connected and learning == "followed":d}',
        f"# TYPE {p}watch_age_seconds gauge", f'{p}watch_age_seconds{{resource="nodes"}} 3',
        f"# TYPE {p}build_info gauge", f'{p}build_info{{version="{version}",python="3.11.2"}} 1',
        f"# TYPE {p}learning_state gauge", f'{p}learning_state{{state="{learning}"}} 1',
        f"# TYPE {p}certificate_not_after_timestamp_seconds gauge",
        f'{p}certificate_not_after_timestamp_seconds{{which="server"}} {ends}', "",
    ])  # fmt: skip


def metrics_path(suffix: str = "a") -> str:
    return f"{OURS}/pods/{NAME}-extender-{suffix}:8891/proxy/metrics"


CA: Final = issue("traffic-footprint-ca", NOW, ca=True, days=3650)
SERVER: Final = issue(HOST, NOW, by=CA, names=(HOST, f"{HOST}.cluster.local"))
CLIENT: Final = issue(f"{NAME}-scheduler", NOW, by=CA, names=(f"{NAME}-scheduler",))


def secret(component: str, crt: str, ca: str, key: str = "secret key") -> Object:
    data = {"tls.crt": encoded(crt), "tls.key": encoded(key), "ca.crt": encoded(ca)}
    return {"metadata": {"name": f"{NAME}-{component}-tls", "namespace": SPACE}, "data": data}


def policy(component: str) -> Object:
    expression = f"request.userInfo.username.endsWith(':{NAME}-{component}')"
    return {
        "metadata": {"name": f"{NAME}-{component}"},
        "spec": {"failurePolicy": "Fail", "matchConditions": [{"name": "a", "expression": expression}]},
    }


def binding(component: str) -> Object:
    return {
        "metadata": {"name": f"{NAME}-{component}"},
        "spec": {"policyName": f"{NAME}-{component}", "validationActions": ["Deny"]},
    }


def routing(scheduler: str = NAME) -> Object:
    expression = f"Object{{spec: Object.spec{{schedulerName: '{scheduler}'}}}}"
    return {
        "metadata": {"name": f"{NAME}-routing", "labels": _labels("routing")},
        "spec": {"mutations": [{"applyConfiguration": {"expression": expression}}]},
    }


def routing_binding(policy: str = f"{NAME}-routing") -> Object:
    return {"metadata": {"name": f"{NAME}-routing", "labels": _labels("routing")}, "spec": {"policyName": policy}}


def labelled(name: str) -> Object:
    return {"metadata": {"name": name, "labels": {"traffic-footprint.io/scheduling": "enabled"}}}


def crd() -> Object:
    fields: Object = {name: {} for name in ("workload", "class", "expectedBandwidth", "placement")}
    schema = {"openAPIV3Schema": {"properties": {"spec": {"properties": fields}}}}
    return {
        "spec": {"versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


class Fake:
    """An API server over a mapping: a list is a collection, a text is a program's, a number is a refusal."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.asked: list[str] = []

    def clock(self) -> datetime:
        found = self.state.get("clock", NOW)
        if isinstance(found, int):
            raise ApiError(found, "no clock")
        return datetime.fromisoformat(found.isoformat())

    def text(self, path: str, most: int) -> str:
        return str(self._found(path))[:most]

    def read(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> dict[str, Any]:
        found = self._found(path)
        if not isinstance(found, list):
            return dict(found)
        query = query or {}
        found = [one for one in found if self._selected(one, query)]
        start, size = int(query.get("continue") or 0), int(query["limit"])
        after = start + size
        if metadata_only:
            found = [{"metadata": at(one, "metadata")} for one in found]
        return {"items": found[start:after], "metadata": {"continue": str(after) if after < len(found) else ""}}

    def _found(self, path: str) -> Any:
        self.asked.append(path)
        found = self.state.get(path, 404)
        if isinstance(found, int):
            raise ApiError(found, f'User "jane" cannot see {path}')
        return found

    @staticmethod
    def _selected(one: Object, query: Mapping[str, str]) -> bool:
        field, _, wanted = query.get("fieldSelector", "").partition("=")
        held = at(one, "spec", field.removeprefix("spec."))
        labels = [part.partition("=") for part in query.get("labelSelector", "").split(",") if part]
        labelled = all(at(one, "metadata", "labels", key) == value for key, _, value in labels)
        return (not field or held == wanted) and labelled


def healthy() -> dict[str, Any]:
    """A release that lacks nothing, on three nodes."""
    names = ("n1", "n2", "n3")
    return {
        "/version": {"gitVersion": "v1.37.2"},
        NODES: [node(name) for name in names],
        PODS: [],
        LEASES: [lease(name) for name in names] + [{"metadata": {"name": "traffic-footprint-learner"}}],
        f"{OURS}/pods": [
            *(pod("nodeagent", name, name) for name in names),
            pod("extender", "a", "n1"), pod("extender", "b", "n2"),
            pod("scheduler", "a", "n1"), pod("scheduler", "b", "n2"),
        ],
        f"{SYSTEM}/pods": [],
        f"{OURS}/services": [{
            "metadata": {"name": f"{NAME}-extender", "namespace": SPACE, "labels": _labels("extender")},
            "spec": {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"]},
        }],
        f"{APPS}/daemonsets": [workload(
            "nodeagent", desiredNumberScheduled=3, numberReady=3, updatedNumberScheduled=3
        )],
        f"{APPS}/deployments": [workload("extender"), workload("scheduler")],
        CONFIG: config_map(scheduler_config()),
        f"{SECRET}extender-tls": secret("extender", SERVER.pem, CA.pem),
        f"{SECRET}scheduler-tls": secret("scheduler", CLIENT.pem, CA.pem),
        **{f"{POLICY}{one}": policy(one) for one in ("nodeagent", "extender")},
        **{f"{BINDING}{one}": binding(one) for one in ("nodeagent", "extender")},
        NAMESPACES: [labelled("shop"), {"metadata": {"name": "default"}}],
        ROUTING: [routing()], ROUTING_BINDING: [routing_binding()],
        SERVED: {"resources": [{"name": PLURAL}]},
        RECORDS: [],
        CRD: crd(),
        metrics_path("a"): page(), metrics_path("b"): page(),
    }  # fmt: skip


def facts(state: dict[str, Any]) -> Facts:
    return gather(Fake(state), SPACE, plugin_version=VERSION, here=lambda: NOW)


def look(state: dict[str, Any]) -> Diagnosis:
    return diagnose(facts(state))


def found(state: dict[str, Any]) -> set[str]:
    """Kinds of findings beyond notes."""
    return {one.id for one in look(state).findings if one.severity.weight}


def one(state: dict[str, Any], ident: str) -> Finding:
    """The only finding of a kind."""
    [made] = [each for each in look(state).findings if each.id == ident]
    return made
