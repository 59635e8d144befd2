# SPDX-License-Identifier: Apache-2.0
"""CoreDNS as kubeadm installs it, with one replica and without names outside the cluster. Pure.

Leaves: the objects to apply, and the name of the Deployment.
"""

from __future__ import annotations

from typing import Any, Final

from lab.nodes.real import files

NAMESPACE: Final = "kube-system"
NAME: Final = "coredns"
_LABELS: Final = {"k8s-app": "kube-dns"}
_RBAC: Final = "rbac.authorization.k8s.io"
_COREFILE: Final = """\
.:53 {
    errors
    health
    ready
    kubernetes DOMAIN in-addr.arpa ip6.arpa {
        pods insecure
    }
    cache 30
    reload
}
"""


def objects(image: str) -> list[dict[str, Any]]:
    """Everything, ready to be applied as a List."""
    read = ["list", "watch"]
    return [
        _object("v1", "ServiceAccount", NAME),
        _object(
            f"{_RBAC}/v1", "ClusterRole", "system:coredns", namespaced=False,
            rules=[
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
            ],
        ),
        _object(
            f"{_RBAC}/v1", "ClusterRoleBinding", "system:coredns", namespaced=False,
            roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": "system:coredns"},
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        ),
        _object("v1", "ConfigMap", NAME, data={"Corefile": _COREFILE.replace("DOMAIN", files.CLUSTER_DOMAIN)}),
        _object("apps/v1", "Deployment", NAME, spec=_deployment(image)),
        _object("v1", "Service", "kube-dns", spec=_service()),
    ]  # fmt: skip


def _object(version: str, kind: str, name: str, *, namespaced: bool = True, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": NAMESPACE} if namespaced else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _deployment(image: str) -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 60},
        "resources": {"requests": {"cpu": "50m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
    }  # fmt: skip
    pod = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    return {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }


def _service() -> dict[str, Any]:
    ports = [{"name": f"dns-{p.lower()}", "port": 53, "protocol": p} for p in ("UDP", "TCP")]
    return {"clusterIP": files.CLUSTER_DNS, "selector": _LABELS, "ports": ports}
