# SPDX-License-Identifier: Apache-2.0
"""A node whose pods' packets pass the node's stack by, as with Cilium's BPF host routing: programs on the pods'
devices, veth or netkit, and on the uplink send them on (``datapath.bpf.c``). Conntrack sees none of them. IPv4.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.sources.ebpf.compiling.build import BuildRequest, sources
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType, MapType, ProgramType
from nodeagent.sources.ebpf.programs import relocated
from tests.kernel.guest import builds
from tests.kernel.guest.network import POD1_4, POD2_4, POD3_4, Network

_FILE: Final = "datapath.bpf.c"
_PODS: Final = {"pod1": POD1_4, "pod2": POD2_4, "pod3": POD3_4}
_UPLINK: Final = "uplink"
ETHERNET: Final = 14


def redirected(net: Network, netkit: str = "") -> AbstractContextManager[None]:
    """The scenarios' node. ``netkit``: the pods' device that has its program by itself."""
    return redirecting(net.node, _PODS, _UPLINK, netkit)


@contextmanager
def redirecting(node: str, pods: Mapping[str, str], uplink: str, netkit: str = "") -> Iterator[None]:
    """Namespace ``node`` with ``pods``, addresses by device. The programs are attached by tc, as filters of qdisc
    clsact, and gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        code = dict(builds.build(request(folder / "c")).code)
        pins = folder / "pins"
        pins.mkdir()
        subprocess.run(["mount", "-t", "bpf", "bpf", pins], check=True)
        try:
            with netns.entered(node):
                links = _load(code, pins, {**pods, uplink: "0.0.0.0"}, netkit)
                try:
                    for name in {*pods, uplink} - {netkit}:
                        _filter(name, pins / ("from_uplink" if name == uplink else "from_pod"))
                    yield
                finally:
                    for link in links:
                        os.close(link)
                    for name in {*pods, uplink} - {netkit}:
                        subprocess.run(["tc", "qdisc", "del", "dev", name, "clsact"], check=False)
        finally:
            subprocess.run(["umount", pins], check=True)


def device(namespace: str) -> tuple[int, int]:
    """IP bytes that the pod's device has sent and received, from its own counters."""
    with netns.entered(namespace):
        line = next(line for line in Path("/proc/thread-self/net/dev").read_text().splitlines() if "eth0:" in line)
    figures = [int(word) for word in line.partition(":")[2].split()]
    return figures[8] - ETHERNET * figures[9], figures[0] - ETHERNET * figures[1]


def request(folder: Path) -> BuildRequest:
    """What is compiled, from a copy at ``folder`` of the project's C sources with the datapath among them."""
    shutil.copytree(sources(), folder)
    shutil.copy(Path(__file__).with_name(_FILE), folder)
    functions = {name: name for name in ("from_pod", "from_uplink")}
    return BuildRequest(
        Mode.FENTRY, sources=folder, file=_FILE, functions=functions, at="sockets", timeout=builds.PATIENCE
    )


def _load(code: Mapping[str, bytes], pins: Path, addresses: Mapping[str, str], netkit: str) -> list[int]:
    """Pin the programs by name; the link at the netkit device ends when it is closed."""
    devices = bpf.map_create(MapType.HASH, key_size=4, value_size=4, max_entries=16, name="devices")
    held, links = [devices], []
    try:
        for name, address in addresses.items():
            bpf.map_update(devices, socket.inet_aton(address), struct.pack("=I", socket.if_nametoindex(name)))
        for name, instructions in code.items():
            program = bpf.program_load(ProgramType.SCHED_CLS, relocated(instructions, {1: devices}), name=name)
            held.append(program)
            bpf.pin(program, pins / name)
            if netkit and name == "from_pod":  # what the pod sends is the other end's, whose programs are set here
                links.append(bpf.attach_cgroup(program, socket.if_nametoindex(netkit), AttachType.NETKIT_PEER))
    finally:
        for descriptor in held:
            os.close(descriptor)
    return links


def _filter(device: str, program: Path) -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", device, "clsact"], check=True)
    subprocess.run(
        ["tc", "filter", "add", "dev", device, "ingress", "bpf", "da", "object-pinned", program], check=True
    )
