# SPDX-License-Identifier: Apache-2.0
"""What the programs of a real node read: pure, settings in, text out.

Enters: addresses and folders. Leaves: the configuration of containerd, kubelet, kube-proxy and the CNI plugins.
They are as kubeadm and a bridge plugin's installer would write them, except where a comment says why not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.network import addresses

REGISTRY: Final = f"http://{addresses.CONTROL_PLANE_V4}:5000"
PAUSE: Final = "registry.k8s.io/pause:3.10.1"
CLUSTER_DNS: Final = "10.96.0.10"
CLUSTER_DOMAIN: Final = "cluster.local"
BRIDGE: Final = "cni0"
IPVS: Final = "ipvs"
PROXY_MODES: Final = ("nftables", "iptables", IPVS)
"""kube-proxy's; with IPVS one node has it, see ``node_proxy_mode``."""

CONTAINERD_ROOT: Final = Path("/var/lib/containerd")
CONTAINERD_STATE: Final = Path("/run/containerd")
_SOCKET: Final = "containerd.sock"
CONTAINERD_SOCKET: Final = str(CONTAINERD_STATE / _SOCKET)
"""Inside the node's mount namespace, as the two before it."""

EMULATED: Final = {"key": "lab.traffic-footprint.io/emulated", "effect": "PreferNoSchedule"}
"""Taint of a node in a virtual machine: it takes minutes for what others do in seconds."""
_IPVS_SYNC: Final = {"minSyncPeriod": "60s", "syncPeriod": "300s"}
"""How often kube-proxy writes its IPVS rules, at most and at least. It starts some seventy programs for them. That
takes an emulated processor many seconds, so that by default, once a second at most, it would hardly pause."""
KERNEL_LABEL: Final = "lab.traffic-footprint.io/kernel"
"""Of such a node, with the kernel's short name, such as ``6.12``."""


@dataclass(frozen=True)
class Places:
    """Folders of one node, and its programs' folders."""

    config: Path
    """Where these files are."""
    runc: Path
    cni_plugins: Path

    @property
    def registries(self) -> Path:
        return self.config / "certs.d"

    @property
    def cni(self) -> Path:
        return self.config / "cni"


def node_proxy_mode(mode: str, *, last_vm: bool) -> str:
    """A node's mode where the lab's is ``mode``.

    With IPVS only the last virtual machine has it. A node in a namespace has its module from nowhere, and two
    emulated processors that keep its rules are slow at everything else.
    """
    return PROXY_MODES[0] if mode == IPVS and not last_vm else mode


def node_files(
    places: Places, name: str, index: int, *,
    ca: Path, kubeconfig: Path, proxy_mode: str, mtu: int, cgroup: str | None = None,
) -> dict[str, str]:  # fmt: skip
    """All that one node's programs read, by path below ``places.config``; ``kubeconfig`` is kube-proxy's.

    Without ``cgroup`` the node has a machine of its own.
    """
    return {
        "certs.d/_default/hosts.toml": registry_hosts(),
        "cni/10-pods.conflist": cni(index, mtu),
        "containerd.toml": containerd(places, shared=cgroup is not None),
        "kubelet.json": kubelet(places, ca, cgroup),
        "kube-proxy.json": kube_proxy(name, proxy_mode, kubeconfig),
        "resolv.conf": resolv_conf(),
    }


def containerd(
    places: Places, *, shared: bool = True, root: Path = CONTAINERD_ROOT, state: Path = CONTAINERD_STATE
) -> str:
    """containerd's configuration: the CRI plugins, runc, images from the lab's registry.

    ``shared``: with other nodes, on a machine that may hold privileges back. Images are kept below ``root``, and
    the socket is in ``state``.
    """
    return f"""\
version = 3
root = "{root}"
state = "{state}"
oom_score = 0
# Their sockets and folders are the machine's, which the nodes share; or this machine lacks what they need.
disabled_plugins = [
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs",
]
[grpc]
  address = "{state / _SOCKET}"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  max_concurrent_downloads = 4
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{places.registries}"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
  # Lowering a process's oom_score_adj takes CAP_SYS_RESOURCE, which root in a container may lack.
  restrict_oom_score_adj = {str(shared).lower()}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{places.cni_plugins}"]
    conf_dir = "{places.cni}"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{places.runc}"
      SystemdCgroup = false
"""


def registry_hosts() -> str:
    """Every image's name is looked up in the lab's registry, whatever registry the name says.

    So what the chart names by default (``registry.k8s.io/kube-scheduler``, ``traffic-footprint/nodeagent``) is
    pulled as it is named, and the machine's network is not asked.
    """
    return f'server = "{REGISTRY}"\n[host."{REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n'


def kubelet(places: Places, ca: Path, cgroup: str | None) -> str:
    """KubeletConfiguration: certificates and webhook decide who may ask, as with kubeadm.

    Pods are kept below ``cgroup``; None: the machine is the node's own.
    """
    shared = {
        "cgroupRoot": f"/{cgroup}",
        # Machines that mix both versions count as v1, where kubelet refuses to start unless told.
        "failCgroupV1": False,
        "oomScoreAdj": 0,  # for CAP_SYS_RESOURCE, as above
    }
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(ca)},
            },
            "authorization": {"mode": "Webhook"},
            "clusterDNS": [CLUSTER_DNS],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(places.config / "resolv.conf"),
            "volumePluginDir": str(places.config / "volume-plugins"),
            "seccompDefault": True,
            "serializeImagePulls": False,
            "cgroupDriver": "cgroupfs",
            **(shared if cgroup is not None else {"registerWithTaints": [EMULATED]}),
            "failSwapOn": False,
            # The nodes share one disk, most of which may be others': a node under pressure would evict our pods.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "1%",
            },
        },
        indent=1,
    )


def kube_proxy(node: str, mode: str, kubeconfig: Path) -> str:
    """KubeProxyConfiguration. kube-proxy finds out by pod ranges which traffic comes from pods of the cluster."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": node,
            "mode": mode,
            "clusterCIDR": f"{addresses.CLUSTER_CIDR_V4},{addresses.CLUSTER_CIDR_V6}",
            # The table's size is one setting for the whole machine, not a node's to change.
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
            **({"ipvs": _IPVS_SYNC} if mode == IPVS else {}),
        },
        indent=1,
    )  # fmt: skip


def cni(index: int, mtu: int) -> str:
    """The network plugins of node ``index``: a bridge with addresses of its pods' ranges, host ports, rates.

    ``mtu`` is that of pods' interfaces, bytes.
    """
    families = ((addresses.pod_cidr_v4(index), "0.0.0.0/0"), (addresses.pod_cidr_v6(index), "::/0"))
    plugins: list[dict[str, Any]] = [
        {
            "type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipMasq": False,
            "mtu": mtu,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": subnet}] for subnet, _ in families],
                "routes": [{"dst": everywhere} for _, everywhere in families],
                "dataDir": "/var/lib/cni/networks",
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ]  # fmt: skip
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}, indent=1)


def resolv_conf() -> str:
    """For pods with ``dnsPolicy: Default``: names outside the cluster are not resolved."""
    return f"nameserver {addresses.OUTSIDE_V4}\n"
