# SPDX-License-Identifier: Apache-2.0
"""What a node's programs read. The programs themselves judge the rest in tier ``node``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from lab.network import addresses
from lab.nodes.real import files, network

PLACES = files.Places(Path("/run/lab/node1"), Path("/cache/runc/runc"), Path("/cache/cni"))


def test_containerd_finds_runc_the_plugins_and_the_registry() -> None:
    config = tomllib.loads(files.containerd(PLACES))
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/cache/runc/runc"
    assert runtime["cni"] == {"bin_dirs": ["/cache/cni"], "conf_dir": "/run/lab/node1/cni"}
    images = config["plugins"]["io.containerd.cri.v1.images"]
    assert images["registry"]["config_path"] == "/run/lab/node1/certs.d"
    assert images["pinned_images"]["sandbox"] == files.PAUSE


def test_a_containerd_that_only_unpacks_keeps_everything_elsewhere() -> None:
    config = tomllib.loads(files.containerd(PLACES, root=Path("/disk/images"), state=Path("/short")))
    assert (config["root"], config["state"]) == ("/disk/images", "/short")
    assert config["grpc"]["address"] == "/short/containerd.sock"
    usual = tomllib.loads(files.containerd(PLACES))
    assert usual["grpc"]["address"] == files.CONTAINERD_SOCKET


def test_the_registry_is_the_only_place_that_images_come_from() -> None:
    hosts = tomllib.loads(files.registry_hosts())
    assert hosts["server"] == files.REGISTRY
    assert list(hosts["host"]) == [files.REGISTRY]


def test_kubelet_keeps_its_pods_in_the_nodes_own_cgroup_and_asks_who_asks() -> None:
    config = json.loads(files.kubelet(PLACES, Path("/pki/ca.crt"), "tf-1a2b-node1"))
    assert config["cgroupRoot"] == "/tf-1a2b-node1"
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["seccompDefault"] is True


def test_kube_proxy_knows_both_families_of_pods() -> None:
    config = json.loads(files.kube_proxy("node1", "iptables", Path("/k")))
    assert config["clusterCIDR"].split(",") == [addresses.CLUSTER_CIDR_V4, addresses.CLUSTER_CIDR_V6]
    assert config["mode"] == "iptables"


def test_the_bridge_gives_addresses_of_the_nodes_own_ranges() -> None:
    bridge = json.loads(files.cni(2, 1450))["plugins"][0]
    subnets = [each["subnet"] for (each,) in bridge["ipam"]["ranges"]]
    assert subnets == [addresses.pod_cidr_v4(2), addresses.pod_cidr_v6(2)]
    assert bridge["mtu"] == 1450
    assert bridge["ipMasq"] is False, "pods of other nodes must see the pod's own address"


def test_a_tunnel_knows_every_other_nodes_end() -> None:
    lines = network.tunnel(1, [2, 3]).splitlines()
    assert f"mtu {1500 - 50} type vxlan id 1 dev eth0 local {addresses.node_v4(1)} dstport 8472" in lines[0]
    for other in (2, 3):
        end = addresses.pod_cidr_v4(other).removesuffix("/24")
        assert f"route replace {addresses.pod_cidr_v4(other)} via {end} dev flannel.1 onlink" in lines
        assert any(line.startswith(f"neigh add {end} lladdr 02:00:") for line in lines)
