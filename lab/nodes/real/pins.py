# SPDX-License-Identifier: Apache-2.0
"""Which programs a real node runs, at which versions: Go modules below ``programs``, built once and cached.

Enters: nothing. Leaves: Modules for ``lab.controlplane.build.ensure``. Guarantees: no module is shared with the
control plane's, so that a lab with the kubelet stand-in builds none of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.controlplane.pins import KUBERNETES_STAMPS, Module

HERE: Final = Path(__file__).parent / "programs"

KUBELET: Final = "kubelet"
KUBE_PROXY: Final = "kube-proxy"
CONTAINERD: Final = "containerd"
SHIM: Final = "containerd-shim-runc-v2"
CTR: Final = "ctr"
RUNC: Final = "runc"
CRICTL: Final = "crictl"
COREDNS: Final = "coredns"
KUBE_ROUTER: Final = "kube-router"

_CONTAINERD: Final = "github.com/containerd/containerd/v2"
_PLUGINS: Final = "github.com/containernetworking/plugins"
_CRI_TOOLS: Final = "sigs.k8s.io/cri-tools"
_KUBE_ROUTER: Final = "github.com/cloudnativelabs/kube-router/v2"

KUBELET_MODULE: Final = Module(
    "kubelet",
    "k8s.io/kubernetes",
    tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in (KUBELET, KUBE_PROXY)),
    "about 90 seconds on two cores after the control plane, else 8 minutes, once",
    parent=HERE,
    stamps=KUBERNETES_STAMPS,
)
CONTAINERD_MODULE: Final = Module(
    "containerd",
    _CONTAINERD,
    tuple((name, f"{_CONTAINERD}/cmd/{name}") for name in (CONTAINERD, SHIM, CTR)),
    "about 90 seconds on two cores, once",
    parent=HERE,
    stamps=(f"{_CONTAINERD}/version.Version={{version}}",),
)
RUNC_MODULE: Final = Module(
    "runc",
    "github.com/opencontainers/runc",
    ((RUNC, "github.com/opencontainers/runc"),),
    "about 20 seconds on two cores, once",
    parent=HERE,
    stamps=("main.version={version}",),
    tags="seccomp,netgo,osusergo",
)
CNI_MODULE: Final = Module(
    "cni",
    _PLUGINS,
    (
        ("host-local", f"{_PLUGINS}/plugins/ipam/host-local"),
        *((name, f"{_PLUGINS}/plugins/main/{name}") for name in ("bridge", "loopback", "ptp")),
        *((name, f"{_PLUGINS}/plugins/meta/{name}") for name in ("bandwidth", "portmap")),
    ),
    "about half a minute on two cores, once",
    parent=HERE,
    stamps=(f"{_PLUGINS}/pkg/utils/buildversion.BuildVersion=v{{version}}",),
    search="CNI_PATH",  # on PATH, `bridge` is iproute2's
)
CRICTL_MODULE: Final = Module(
    "crictl",
    _CRI_TOOLS,
    ((CRICTL, f"{_CRI_TOOLS}/cmd/crictl"),),
    "about 80 seconds on two cores, once",
    parent=HERE,
    stamps=(f"{_CRI_TOOLS}/pkg/version.Version={{version}}",),
)
COREDNS_MODULE: Final = Module(
    "coredns",
    "github.com/coredns/coredns",
    ((COREDNS, "github.com/coredns/coredns"),),
    "about 4 minutes on two cores, once",
    parent=HERE,
)
KUBE_ROUTER_MODULE: Final = Module(
    "kube-router",
    _KUBE_ROUTER,
    ((KUBE_ROUTER, f"{_KUBE_ROUTER}/cmd/kube-router"),),
    "about 3 minutes on two cores, once",
    parent=HERE,
    stamps=(f"{_KUBE_ROUTER}/pkg/version.Version=v{{version}}",),
)
"""Only for a lab whose network it is."""
MODULES: Final = (RUNC_MODULE, CNI_MODULE, CONTAINERD_MODULE, KUBELET_MODULE, CRICTL_MODULE, COREDNS_MODULE)
"""What a lab with real nodes runs beside the control plane."""
