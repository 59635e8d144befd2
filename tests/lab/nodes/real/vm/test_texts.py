# SPDX-License-Identifier: Apache-2.0
"""What a guest is given, as values: QEMU's arguments, the archive that it unpacks, its network's settings."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab.kernelvm.image import KernelImage
from lab.network import addresses
from lab.network.fabric import Fabric, NodeSpec
from lab.nodes.real import files
from lab.nodes.real.vm import cable, disks, machine
from lab.nodes.real.vm.machine import Machine

NODES = (NodeSpec("node1", 1, "200M"), NodeSpec("node2", 2, "200M"))
MACHINE = Machine(
    name="node2", kernel=KernelImage(Path("/c/vmlinuz"), Path("/c/initramfs"), Path("/c/modules"), "linux_6.12"),
    debian=Path("/c/debian"), programs=Path("/c/programs"), told=Path("/r/told"), own=Path("/d/own"),
    mac="02:00:0a:0a:00:0c", speed=200, run=Path("/r"), logs=Path("/l"),
)  # fmt: skip


def test_disks_come_in_the_order_in_which_the_guest_names_them_and_one_can_be_written() -> None:
    argv = machine.command(MACHINE)
    given = [word for word in argv if word.startswith("file=")]
    assert [word.split(",")[0] for word in given] == [
        "file=/c/debian", "file=/c/modules", "file=/r/told", "file=/d/own", "file=/c/programs",
    ]  # fmt: skip
    assert [word for word in given if "readonly=off" in word] == [given[3]]


def test_the_card_has_the_address_that_the_neighbours_know_and_states_the_links_speed() -> None:
    card = next(word for word in machine.command(MACHINE) if word.startswith("virtio-net-pci"))
    assert f"mac={cable.mac(2)}" in card
    assert "speed=200" in card
    assert addresses.mac(addresses.node_v4(2)) == cable.mac(2)


def test_each_programs_output_goes_to_a_file_of_its_own() -> None:
    argv = machine.command(replace(MACHINE, logs=Path("/l,1")))
    for program in machine.LOGS:
        assert f"file,id={program},path=/l,,1/{program}-node2.log,append=on" in argv
        assert f"virtserialport,chardev={program},name={program}" in argv


def test_a_guest_is_told_the_fabrics_routes_and_neighbours_but_none_that_hides_the_pods_bridge() -> None:
    given = cable.texts(2, Fabric("1a2b", NODES).hosts())
    lines = given["network.ip"].splitlines()
    assert f"addr add {addresses.node_v4(2)}/24 dev eth0" in lines
    assert f"route add {addresses.pod_cidr_v6(1)} via {addresses.node_v6(1)} dev eth0" in lines
    assert not [line for line in lines if addresses.pod_cidr_v4(2) in line]
    assert "masquerade" in given["network.nft"]
    settings = given["sysctl.conf"].splitlines()
    assert "net.netfilter.nf_conntrack_acct=0" in settings, "Linux's default, not the lab's"
    assert "net.ipv4.ip_forward=1" in settings


def test_a_kubeconfig_that_leaves_this_machine_takes_its_certificates_along(tmp_path: Path) -> None:
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text(f"the {name}")
    config = {
        "clusters": [{"name": "lab", "cluster": {"server": "x", "certificate-authority": str(tmp_path / "ca")}}],
        "users": [{"name": "lab", "user": {
            "client-certificate": str(tmp_path / "certificate"), "client-key": str(tmp_path / "key"),
        }}],
    }  # fmt: skip
    (tmp_path / "config").write_text(json.dumps(config))
    text = disks.whole(tmp_path / "config")
    assert str(tmp_path) not in text
    user = json.loads(text)["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == b"the key"


def test_a_nodes_disk_begins_with_the_files_that_were_preloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")  # where such tools are, for root alone
    image = tmp_path / "tree" / "var/lib/containerd/layer"
    image.parent.mkdir(parents=True)
    image.write_text("unpacked")
    disks.filesystem(tmp_path / "preloaded", tmp_path / "tree")
    disks.own(tmp_path / "own", tmp_path / "preloaded")
    look = ["debugfs", "-R", "cat /var/lib/containerd/layer", str(tmp_path / "own")]
    assert subprocess.run(look, capture_output=True, text=True, check=True).stdout == "unpacked"
    about = (tmp_path / "own").stat()
    assert about.st_size == disks.DISK_BYTES
    assert about.st_blocks * 512 < disks.DISK_BYTES / 8, "what is empty takes no room"


def test_what_a_guest_is_told_is_one_archive_for_root_alone(tmp_path: Path) -> None:
    (tmp_path / "init").write_text("#!/bin/sh\n")
    disks.told(tmp_path / "told.tar", {"cni/a.conflist": "{}", "name": "node2"}, tmp_path / "init")
    assert (tmp_path / "told.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "told.tar") as tar:
        assert tar.getnames() == ["kernelvm/init", "node/cni/a.conflist", "node/name"]
        member = tar.extractfile("node/name")
        assert member is not None
        assert member.read() == b"node2"


def test_a_machine_of_ones_own_needs_none_of_what_sharing_one_does() -> None:
    places = files.Places(disks.CONFIG, disks.PROGRAMS / "runc", disks.CNI)
    config = json.loads(files.kubelet(places, Path("/node/ca.crt"), None))
    assert not {"cgroupRoot", "failCgroupV1", "oomScoreAdj"} & set(config)
    assert config["registerWithTaints"] == [files.EMULATED]
    assert "restrict_oom_score_adj = false" in files.containerd(places, shared=False)


def test_with_ipvs_the_last_virtual_machine_has_it_and_the_others_the_default() -> None:
    assert files.node_proxy_mode(files.IPVS, last_vm=True) == "ipvs"
    assert files.node_proxy_mode(files.IPVS, last_vm=False) == "nftables"
    assert {files.node_proxy_mode("iptables", last_vm=last) for last in (True, False)} == {"iptables"}


def test_kube_proxy_takes_its_times_of_ipvs_and_has_none_elsewhere() -> None:
    config = json.loads(files.kube_proxy("node3", files.IPVS, Path("/k")))["ipvs"]
    assert config == {"minSyncPeriod": "60s", "syncPeriod": "300s"}, "it ends at once where the second is shorter"
    assert "ipvs" not in json.loads(files.kube_proxy("node2", "nftables", Path("/k")))
