# SPDX-License-Identifier: Apache-2.0
"""The command lines of the control plane: pure, paths in, argument vectors out.

Ports are the usual ones: each lab's control plane has a network namespace of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lab.controlplane.pki import KUBELET_CLIENT, Pki
from lab.network import addresses

API_PORT: Final = 6443
LOCAL_SERVER: Final = f"https://127.0.0.1:{API_PORT}"
"""For whoever is in the control plane's namespace."""
NODE_SERVER: Final = f"https://{addresses.CONTROL_PLANE_V4}:{API_PORT}"
"""For nodes and pods."""

ETCD_URL: Final = "http://127.0.0.1:2379"
_ETCD_PEER_URL: Final = "http://127.0.0.1:2380"
CONTROLLER_MANAGER_HEALTH: Final = "https://127.0.0.1:10257/healthz"
SCHEDULER_HEALTH: Final = "https://127.0.0.1:10259/readyz"
SCHEDULER_METRICS: Final = "https://127.0.0.1:10259/metrics"

SERVER_NAMES: Final = (
    "IP:127.0.0.1",
    "IP:::1",
    f"IP:{addresses.CONTROL_PLANE_V4}",
    f"IP:{addresses.CONTROL_PLANE_V6}",
    "IP:10.96.0.1",
    "IP:fd00:96::1",
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
)

# They poll or wait for things that no lab has (autoscaling metrics, volumes, cloud routes) and cost start-up time.
_IDLE_CONTROLLERS: Final = (
    "horizontal-pod-autoscaler-controller",
    "node-ipam-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
)


def etcd(program: Path, data: Path) -> list[str]:
    """etcd without fsync: a lab's data need not survive a power cut, and its disk may be slow."""
    return [
        str(program),
        f"--data-dir={data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={_ETCD_PEER_URL}",
        f"--initial-advertise-peer-urls={_ETCD_PEER_URL}",
        f"--initial-cluster=default={_ETCD_PEER_URL}",
        "--log-level=warn",
    ]


def apiserver(program: Path, pki: Pki, *, kubelets: bool = False) -> list[str]:
    """kube-apiserver with RBAC enforced and service-account tokens, dual-stack, without auditing.

    With ``kubelets`` each may read and write what its own node needs alone, and is asked for logs and commands.
    """
    return [
        str(program),
        f"--etcd-servers={ETCD_URL}",
        "--bind-address=::",  # IPv4 as well
        f"--secure-port={API_PORT}",
        f"--advertise-address={addresses.CONTROL_PLANE_V4}",
        f"--service-cluster-ip-range={addresses.SERVICE_CIDR_V4},{addresses.SERVICE_CIDR_V6}",
        f"--authorization-mode={'Node,RBAC' if kubelets else 'RBAC'}",
        "--allow-privileged=true",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--client-ca-file={pki.ca}",
        # No extension API server is behind this one; without these, its clients ask in vain for who may proxy.
        f"--requestheader-client-ca-file={pki.ca}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={pki.service_account_key}",
        f"--service-account-key-file={pki.service_account_key}",
        "--endpoint-reconciler-type=master-count",  # one server, which a restart must not wait to forget
        "--shutdown-watch-termination-grace-period=0s",
        *(_for_kubelets(pki) if kubelets else ()),
    ]


def _for_kubelets(pki: Pki) -> tuple[str, ...]:
    return (
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki.certificate(KUBELET_CLIENT)}",
        f"--kubelet-client-key={pki.key(KUBELET_CLIENT)}",
        "--kubelet-preferred-address-types=InternalIP",
    )


def audit(policy: Path, log: Path) -> list[str]:
    """Further flags of kube-apiserver: one JSON line to ``log`` for each request that ``policy`` wants recorded,
    written before the response leaves: whoever has the response finds the line."""
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking"]


def audit_policy() -> dict[str, Any]:
    """Log a request of a service account outside kube-system once its response begins (watch) or is complete."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    }


def controller_manager(program: Path, pki: Pki, kubeconfig: Path) -> list[str]:
    """kube-controller-manager, each controller under its own service account as in production."""
    controllers = ",".join(["*", *(f"-{name}" for name in _IDLE_CONTROLLERS)])
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki.service_account_key}",
        f"--root-ca-file={pki.ca}",
        f"--controllers={controllers}",
        "--allocate-node-cidrs=false",  # lab.nodes gives its nodes their pod ranges
        "--controller-shutdown-timeout=1s",
        "--kube-api-qps=1000",  # the default of 20 would be measured instead of the cluster
        "--kube-api-burst=2000",
    ]


def scheduler(program: Path, config: Path, kubeconfig: Path) -> list[str]:
    """kube-scheduler; everything that matters is in its configuration file."""
    return [
        str(program),
        f"--config={config}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
    ]
