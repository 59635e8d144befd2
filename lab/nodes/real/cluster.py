# SPDX-License-Identifier: Apache-2.0
"""A cluster of real nodes as a context manager: the lab's fabric and control plane, and kubelets with containerd.

Enters: a LabConfig. Leaves: Ready nodes, CoreDNS, and a registry with every image that the chart names. Nothing of
the product runs: an operator installs the chart. Guarantees: as ``lab.lab``; the nodes' processes, cgroups, mounts
and disks are removed as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from footprint.cluster.client import ApiError, request
from lab import preconditions as machine
from lab import state
from lab.config import LabConfig
from lab.controlplane import build, commands, readiness
from lab.controlplane import pins as plane
from lab.controlplane.assets import Found
from lab.errors import LabError
from lab.kernelvm.progress import say
from lab.lab import Lab
from lab.machine import leftovers
from lab.network import addresses
from lab.network.fabric import NodeSpec
from lab.nodes.real import dns, files, images, kuberouter, pins, preconditions, registry
from lab.nodes.real.network import HOST_GW, KUBE_ROUTER
from lab.nodes.real.node import Credentials, Node
from lab.nodes.real.vm import disks, preload
from lab.nodes.real.vm import preconditions as vm
from lab.nodes.real.vm.node import VmNode

_NODE_USER: Final = "/O=system:nodes/CN=system:node:{name}"
_PROXY_USER: Final = "/CN=system:kube-proxy"
_READY_SECONDS: Final = 60.0
_VM_READY_SECONDS: Final = 420.0
"""Two guests boot in a minute on two idle cores."""
_ROUTES_SECONDS: Final = 120.0
_MERGE_PATCH: Final = "application/merge-patch+json"


class RealLab(Lab):
    """A lab whose nodes are real; ``agents`` and ``extender`` of its configuration mean nothing here."""

    _kubelets: ClassVar = True

    def __init__(
        self, config: LabConfig | None = None,
        *, proxy_mode: str = files.PROXY_MODES[0], network: str = HOST_GW, product: bool = True,
        vms: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """``product``: build and push the images of agent and extender too (minutes when they are not cached).

        ``vms`` are the kernels of further nodes, after those of ``config``, each in a virtual machine. Raises
        LabError for what cannot be.
        """
        given = config or LabConfig()
        vm.check_kernels(vms)
        if vms and network != HOST_GW:
            raise LabError(f"nodes in virtual machines route pods' packets as they are; use --network {HOST_GW}")
        if proxy_mode == files.IPVS and not vms:
            raise LabError("IPVS needs a kernel that has it, which only nodes in virtual machines do; add --vm")
        super().__init__(replace(given, nodes=given.nodes + len(vms)))
        self._kernels = {
            spec.name: kernel for spec, kernel in zip(self.config.node_specs[given.nodes :], vms, strict=True)
        }
        self._proxy_mode, self._network, self._product = proxy_mode, network, product
        self.nodes: dict[str, Node] = {}
        self.helm_path = Path()
        self._preloaded = Path()
        self._ranged: set[str] = set()
        self.digests: dict[str, str] = {}
        """Of the images in the registry, by name."""

    def ended(self) -> list[str]:
        """Components that ended without having been stopped, the nodes' programs included."""
        return super().ended() + [name for node in self.nodes.values() for name in node.ended()]

    def lost(self) -> list[str]:
        """A line for each component that ended without having been stopped, the nodes' programs included."""
        own = [name for node in self.nodes.values() for name in node.ended()]
        return super().lost() + [f"{name} has ended; its log says why: {self.logs(name)}" for name in own]

    def node(self, name: str) -> Node:
        """The node called ``name``."""
        return self.nodes[name]

    def client_kubeconfig(self, name: str, subject: str) -> Path:
        """A kubeconfig for use on the nodes, with a new certificate of ``subject`` (``/O=GROUP/CN=USER``)."""
        return self._plane.client_kubeconfig(name, subject, commands.NODE_SERVER)

    # -- coming up -----------------------------------------------------------------------------------------------

    def _prepare(self) -> Mapping[str, Found]:
        machine.check()
        machine.conntrack()
        vms = len(self._kernels)
        preconditions.check(self.config.nodes - vms, vms * vm.MEMORY, vms * vm.DISK)
        if vms:
            vm.check()
        router = (pins.KUBE_ROUTER_MODULE,) if self._network == KUBE_ROUTER else ()
        found = build.ensure((*plane.MODULES, plane.HELM_MODULE, *pins.MODULES, *router))
        self.helm_path = found[plane.HELM].path
        versions = {name: program.version for name, program in found.items()}
        paths = {name: program.path for name, program in found.items()}
        self._images = list(images.cluster(paths, versions))
        if self._product:
            self._images += images.product()
        if self._kernels:
            disks.prepare(paths, self._kernels.values())
        for prefix in leftovers.orphans({lab.id for lab in state.entries()}):
            leftovers.remove(prefix)
        return found

    def _up(self, binaries: Mapping[str, Found]) -> None:
        programs = {name: program.path for name, program in binaries.items()}
        self._start_control_plane(binaries)
        self._make_room()
        self._start_registry()
        if self._kernels:
            self._preloaded = preload.disk(programs, self.digests)
        self._start_real_nodes(programs)
        self._plane.wait_controllers()
        seconds = _VM_READY_SECONDS if self._kernels else _READY_SECONDS
        self._wait(self._all_ready, "a Ready node for each one started", seconds)
        if self._network == KUBE_ROUTER:
            self._start_kube_router()
        self._wait(lambda: readiness.pods_admitted(self._api), "the default service account")
        self.start_scheduler(extender=False)
        self._start_dns()
        self._check_alive()

    def _make_room(self) -> None:
        """The folder of the nodes' disks, and of the registry's."""
        prefix = state.namespace_prefix(self.id)
        leftovers.data(prefix).mkdir(parents=True)
        self._stack.callback(leftovers.remove, prefix)

    def _start_real_nodes(self, programs: Mapping[str, Path]) -> None:
        proxy = self._plane.client_kubeconfig("kube-proxy", _PROXY_USER, commands.NODE_SERVER)
        for spec in self.config.node_specs:
            user = _NODE_USER.format(name=spec.name)
            kubelet = self._plane.client_kubeconfig(f"kubelet-{spec.name}", user, commands.NODE_SERVER)
            node = self._make_node(spec, programs, Credentials(kubelet, proxy, self._plane.pki.ca))
            self._stack.callback(node.stop)
            self.nodes[spec.name] = node
            node.start()

    def _make_node(self, spec: NodeSpec, programs: Mapping[str, Path], credentials: Credentials) -> Node:
        prefix = state.namespace_prefix(self.id)
        run, data, logs = self.dir / "nodes", leftovers.data(prefix), self.dir / "logs"
        others = [other.index for other in self.config.node_specs if other != spec]
        mode = files.node_proxy_mode(self._proxy_mode, last_vm=spec.name in [*self._kernels][-1:])
        if kernel := self._kernels.get(spec.name):
            return VmNode(
                spec, prefix, kernel=kernel, programs=programs, credentials=credentials, run=run, data=data,
                logs=logs, others=others, proxy_mode=mode, network=self._network,
                hosts=self._fabric.hosts(), preloaded=self._preloaded,
                processors=max(1, (os.cpu_count() or 1) // len(self._kernels)),
            )  # fmt: skip
        return Node(
            spec, prefix, programs=programs, credentials=credentials, run=run, data=data, logs=logs, others=others,
            proxy_mode=mode, network=self._network,
        )  # fmt: skip

    def _start_registry(self) -> None:
        data = leftovers.data(state.namespace_prefix(self.id)) / "registry"
        self._processes["registry"] = registry.serve(self.dir, data, self.logs("registry"))
        for image in self._images:
            say(f"pushing {image.name}", area="nodes")
            self.digests[image.name] = registry.push(image)

    def _all_ready(self) -> bool:
        """Every node is Ready, and has the pods' ranges that its network plugin gives addresses of."""
        for node in self.nodes.values():
            node.watch()
        for spec in self.config.node_specs:
            if spec.name in self._ranged:
                continue
            ranges = [addresses.pod_cidr_v4(spec.index), addresses.pod_cidr_v6(spec.index)]
            body = {"spec": {"podCIDR": ranges[0], "podCIDRs": ranges}}
            with suppress(ApiError):  # not registered yet
                request(self._api, "PATCH", f"/api/v1/nodes/{spec.name}", body=body, content_type=_MERGE_PATCH)
                self._ranged.add(spec.name)
        return readiness.nodes_ready(self._api, self.node_names)

    def _start_kube_router(self) -> None:
        """On every node, and wait until pods could reach those of other nodes."""
        self._apply(kuberouter.objects())
        kubeconfig = self._plane.client_kubeconfig(
            pins.KUBE_ROUTER, f"/CN={kuberouter.USER}", commands.NODE_SERVER
        )
        for node in self.nodes.values():
            node.start_kube_router(kubeconfig)
        self._wait(
            lambda: all(node.routed() for node in self.nodes.values()),
            "routes to all nodes' pods by BGP",
            _ROUTES_SECONDS,
        )

    def _apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "-f", "-", input=listed)

    def _start_dns(self) -> None:
        (image,) = (name for name in self.digests if "/coredns:" in name)
        self._apply(dns.objects(image))
        self.kubectl("-n", dns.NAMESPACE, "rollout", "status", f"deployment/{dns.NAME}", "--timeout=110s")
