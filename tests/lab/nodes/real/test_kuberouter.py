# SPDX-License-Identifier: Apache-2.0
"""What kube-router is told and what it has learned. The program itself runs in tier ``node``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lab.network import addresses
from lab.nodes.real import kuberouter


def test_it_routes_and_filters_and_leaves_services_to_kube_proxy() -> None:
    program, plugins = Path("/bin/kube-router"), Path("/run/cni/10-pods.conflist")
    argv = kuberouter.command(program, "node1", Path("/k"), plugins, "/shims:/usr/sbin")
    assert argv[:4] == [
        "env", "KUBE_ROUTER_CNI_CONF_FILE=/run/cni/10-pods.conflist", "PATH=/shims:/usr/sbin", program,
    ]  # fmt: skip
    assert {"--run-router=true", "--run-firewall=true", "--run-service-proxy=false"} <= set(argv)


def test_rules_for_ipv6_name_the_sets_as_they_are_called(tmp_path: Path) -> None:
    rule = "-A KUBE-NWPLCY-X -m set --match-set {}KUBE-SRC-A src -m set --match-set {}KUBE-DST-B dst -j ACCEPT\n"
    script = tmp_path / "restore"
    script.write_text(kuberouter.restore("tee"))
    for given in (rule.format("", ""), rule.format("inet6:", "inet6:")):
        done = subprocess.run(
            ["sh", script, tmp_path / "taken"], input=given, capture_output=True, text=True, check=True
        )
        assert done.stdout == (tmp_path / "taken").read_text() == rule.format("inet6:", "inet6:")


def test_its_network_plugins_have_no_ranges_until_it_writes_them() -> None:
    bridge, ports = json.loads(kuberouter.cni())["plugins"]
    assert bridge["bridge"] == kuberouter.BRIDGE
    assert "ranges" not in bridge["ipam"]
    assert ports["type"] == "portmap"


def test_it_may_read_and_nothing_else() -> None:
    role, binding = kuberouter.objects()
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "get", "watch"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == kuberouter.USER


def test_all_is_learned_once_both_families_of_every_other_nodes_pods_have_a_route() -> None:
    lines = [
        f"{cidr(index)} via {node(index)} dev eth0"
        for index in (2, 3)
        for cidr, node in ((addresses.pod_cidr_v4, addresses.node_v4), (addresses.pod_cidr_v6, addresses.node_v6))
    ]
    assert kuberouter.all_learned("\n".join(lines), [2, 3])
    for missing in lines:
        assert not kuberouter.all_learned("\n".join(line for line in lines if line != missing), [2, 3])
