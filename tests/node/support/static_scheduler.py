# SPDX-License-Identifier: Apache-2.0
"""The cluster's own kube-scheduler as kubeadm runs it: a static pod of a host of the control plane.

Enters: a lab, a node that plays the host. Leaves: that host's ``/etc/kubernetes``, which is the node's alone,
a kube-scheduler with whatever configuration is put there, and what extenders say to whoever has its certificate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from lab.controlplane import pins as plane
from lab.nodes.real import pins
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import HOST
from tests.node.support import chart

ETC: Final = "/etc/kubernetes"
CONFIG: Final = f"{ETC}/traffic-footprint/config.yaml"
MANIFESTS: Final = f"{ETC}/manifests"
CREDENTIALS: Final = f"{ETC}/scheduler.conf"
NAME: Final = "kube-scheduler"
SKIPPED: Final = "Skipping extender"
"""What kube-scheduler logs when an extender has not answered in time, and the pod is placed without it."""


class ControlPlaneHost:
    """``node``, whose ``/etc`` this covers by a layer of its own until the lab ends."""

    def __init__(self, lab: RealLab, node: str) -> None:
        self._lab, self._node = lab, lab.node(node)
        self.pod = f"{NAME}-{node}"
        """The static pod's name as the API server shows it."""

    def prepare(self) -> None:
        """Credentials of kube-scheduler, and a kubelet that runs what is in ``MANIFESTS``."""
        layer = "/var/lib/kubelet/etc"
        options = f"lowerdir=/etc,upperdir={layer}/upper,workdir={layer}/work"
        self._node.run(["mkdir", "-p", f"{layer}/upper", f"{layer}/work"])
        self._node.run(["sh", "-c", f"mountpoint -q /etc || mount -t overlay overlay -o {options} /etc"])
        self._node.run(["mkdir", "-p", MANIFESTS])
        self.write(CREDENTIALS, self.embedded("kube-scheduler-host", "/CN=system:kube-scheduler"))
        config = self._lab.dir / "nodes" / self._node.name / "kubelet.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "staticPodPath": MANIFESTS}))
        self._node.stop_program(pins.KUBELET)
        self._node.start_kubelet()

    def embedded(self, name: str, subject: str) -> str:
        """A kubeconfig's text, with the certificate in it."""
        path = self._lab.client_kubeconfig(name, subject)
        return self._lab.kubectl("config", "view", "--kubeconfig", str(path), "--raw", "--flatten")

    def write(self, path: str, text: str) -> None:
        self._node.run(["sh", "-c", f"cat >{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"])

    def shell(self, script: str, kubeconfig: str) -> str:
        """What commands print that an administrator types there."""
        path = self._lab.kubectl_path.parent
        return self._node.run(["sh", "-euc", f"export KUBECONFIG={kubeconfig} PATH={path}:$PATH\n{script}"])

    def run_scheduler(self) -> None:
        """The manifest that kubeadm writes, with ``config`` and the folder added as its users are told to."""
        (image,) = (name for name in self._lab.digests if f"/{plane.KUBE_SCHEDULER}:" in name)
        self.write(f"{MANIFESTS}/{NAME}.yaml", json.dumps(manifest(image)))

    def end_scheduler(self) -> None:
        self._node.run(["rm", f"{MANIFESTS}/{NAME}.yaml"])

    def log(self) -> str:
        """kube-scheduler's, so far."""
        return self._lab.kubectl("-n", "kube-system", "logs", self.pod)

    def explained(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        """What each replica of the extender says of ``pod``, by its name, asked as kube-scheduler asks."""
        folder, body = CONFIG.rpartition("/")[0], json.dumps(pod)
        proof = ["--cacert", f"{folder}/ca.crt", "--cert", f"{folder}/tls.crt", "--key", f"{folder}/tls.key"]
        found = {}
        for each in chart.pods(self._lab, "extender"):
            replica = ["--resolve", f"{HOST}:8890:{each['status']['podIP']}", f"https://{HOST}:8890/explain"]
            said = self._node.run(["curl", "-sS", "--max-time", "30", *proof, "--json", body, *replica])
            found[each["metadata"]["name"]] = json.loads(said)
        return found


def manifest(image: str) -> dict[str, Any]:
    """As kubeadm writes it, but for ``--config``, which replaces two flags, and its folder."""
    folder = CONFIG.rpartition("/")[0]
    probe = {"host": "127.0.0.1", "port": 10259, "scheme": "HTTPS"}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": NAME, "namespace": "kube-system",
            "labels": {"component": NAME, "tier": "control-plane"},
        },
        "spec": {
            "hostNetwork": True, "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": NAME, "image": image, "imagePullPolicy": "IfNotPresent",
                "command": [
                    NAME, f"--authentication-kubeconfig={CREDENTIALS}",
                    f"--authorization-kubeconfig={CREDENTIALS}", "--bind-address=127.0.0.1", f"--config={CONFIG}",
                ],
                "livenessProbe": {"httpGet": {**probe, "path": "/livez"}, "failureThreshold": 8},
                "readinessProbe": {"httpGet": {**probe, "path": "/readyz"}, "periodSeconds": 1},
                "startupProbe": {"httpGet": {**probe, "path": "/livez"}, "failureThreshold": 24},
                "resources": {"requests": {"cpu": "100m"}},
                "volumeMounts": [
                    {"name": "kubeconfig", "mountPath": CREDENTIALS, "readOnly": True},
                    {"name": "traffic-footprint", "mountPath": folder, "readOnly": True},
                ],
            }],
            "volumes": [
                {"name": "kubeconfig", "hostPath": {"path": CREDENTIALS, "type": "FileOrCreate"}},
                {"name": "traffic-footprint", "hostPath": {"path": folder}},
            ],
        },
    }  # fmt: skip
