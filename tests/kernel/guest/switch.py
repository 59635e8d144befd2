# SPDX-License-Identifier: Apache-2.0
"""A node whose pods hang on Open vSwitch: the distribution's daemons, the kernel's datapath.

A bridge has the ports of two pods and of a card (a VLAN device: a veth would be taken for a pod's), and the node's
own address. With ``zones`` packets pass connection tracking, as under OVN: in a zone for each pod and in one for
the way out. Without it the switch forwards by itself, and no packet of a pod is tracked.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.node.locality import node_addresses
from nodeagent.sources.base import Locality
from tests.kernel.guest.network import run_ip
from tests.kernel.guest.traffic import packed

POD1, POD2, SERVER, NODE = "10.97.0.2", "10.97.0.3", "10.97.0.9", "10.97.0.1"
BRIDGE, CARD = "br0", "card"
PODS: Final = {"pod1": POD1, "pod2": POD2}

_OUTSIDE: Final = 9
_SCHEMA: Final = "/usr/share/openvswitch/vswitch.ovsschema"
_SECONDS: Final = "60"
"""Until a daemon has started: it does so in less, but on an emulated processor."""
_ZONES: Final = [
    "priority=0,actions=NORMAL",
    f"priority=20,ip,nw_src={POD1},actions=ct(commit,zone=1,table=1)",
    f"priority=20,ip,nw_src={POD2},actions=ct(commit,zone=2,table=1)",
    f"priority=10,ip,in_port={CARD},actions=ct(commit,zone={_OUTSIDE},table=1)",
    "table=1,priority=0,actions=NORMAL",
    f"table=1,priority=20,ip,nw_dst={POD1},actions=ct(commit,zone=1,table=2)",
    f"table=1,priority=20,ip,nw_dst={POD2},actions=ct(commit,zone=2,table=2)",
    f"table=1,priority=10,ip,nw_dst={SERVER},actions=ct(commit,zone={_OUTSIDE},table=2)",
    "table=2,priority=0,actions=NORMAL",
]


@dataclass(frozen=True)
class Switched:
    """Names of the namespaces."""

    node: str
    pod1: str
    pod2: str
    server: str
    folder: Path
    """Of the daemons: what they listen on, and their logs."""

    def locality(self) -> Locality:
        with netns.entered(self.node):
            return Locality({packed(POD1): "uid-1", packed(POD2): "uid-2"}, node_addresses())

    def command(self, *argv: str) -> str:
        """The output of one of the switch's programs."""
        with netns.entered(self.node):
            done = subprocess.run(
                argv, env={**os.environ, "OVS_RUNDIR": str(self.folder), "OVS_LOGDIR": str(self.folder)},
                check=False, capture_output=True, text=True,
            )  # fmt: skip
        assert not done.returncode, (argv, done.stderr)
        return done.stdout

    def track(self, *, zones: bool) -> None:
        self.command("ovs-ofctl", "del-flows", BRIDGE)
        for flow in _ZONES if zones else ["priority=0,actions=NORMAL"]:
            self.command("ovs-ofctl", "--names", "add-flow", BRIDGE, flow)

    def entries(self) -> list[str]:
        """The connection table, a line an entry."""
        with netns.entered(self.node):
            return subprocess.run(
                ["conntrack", "-L"], check=True, capture_output=True, text=True
            ).stdout.splitlines()  # fmt: skip

    def devices(self) -> str:
        with netns.entered(self.node):
            return Path("/proc/thread-self/net/dev").read_text()


@contextmanager
def switched() -> Iterator[Switched]:
    """The network, gone afterwards. Fails where the programs or the kernel's module are not there."""
    names = node, pod1, pod2, server = [f"tfs-{os.getpid()}-{part}" for part in ("node", "pod1", "pod2", "server")]
    with tempfile.TemporaryDirectory() as folder:
        net = Switched(node, pod1, pod2, server, Path(folder))
        try:
            netns.create_all(names)
            _wire(net)
            with _daemons(net):
                ports = [word for port in (*PODS, CARD) for word in ("--", "add-port", BRIDGE, port)]
                net.command("ovs-vsctl", "add-br", BRIDGE, *ports)
                run_ip(net.node, f"""addr add {NODE}/24 dev {BRIDGE}
                    link set {BRIDGE} up
                    route add default via {SERVER}""")  # fmt: skip
                yield net
        finally:
            netns.delete_all(names)


def _wire(net: Switched) -> None:
    for name in (net.node, net.pod1, net.pod2, net.server):
        with netns.entered(name):
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    run_ip(net.node, f"""link add pod1 type veth peer name eth0 netns {net.pod1}
        link add pod2 type veth peer name eth0 netns {net.pod2}
        link add wire type veth peer name wire netns {net.server}
        link add link wire name {CARD} type vlan id 5
        link set pod1 up
        link set pod2 up
        link set wire up
        link set {CARD} up""")  # fmt: skip
    for namespace, address in ((net.pod1, POD1), (net.pod2, POD2)):
        run_ip(namespace, f"addr add {address}/24 dev eth0\nlink set eth0 up")
    run_ip(net.server, f"""link add link wire name eth0 type vlan id 5
        addr add {SERVER}/24 dev eth0
        link set wire up
        link set eth0 up""")  # fmt: skip


@contextmanager
def _daemons(net: Switched) -> Iterator[None]:
    subprocess.run(["modprobe", "openvswitch"], check=True)
    database, listening = net.folder / "conf.db", net.folder / "db.sock"
    started: list[str] = []
    try:
        net.command("ovsdb-tool", "create", str(database), _SCHEMA)
        net.command("ovsdb-server", str(database), f"--remote=punix:{listening}", *_detached(net, "ovsdb-server"))
        started.append("ovsdb-server")
        net.command("ovs-vsctl", "--no-wait", "init")
        net.command(
            "/usr/lib/openvswitch-switch/ovs-vswitchd", f"unix:{listening}", *_detached(net, "ovs-vswitchd")
        )
        started.append("ovs-vswitchd")
        yield
    finally:
        for name in reversed(started):
            net.command("ovs-appctl", f"--timeout={_SECONDS}", "-t", name, "exit", *_cleanup(name))


def _detached(net: Switched, name: str) -> tuple[str, ...]:
    return "--detach", "--no-chdir", f"--pidfile={net.folder / name}.pid", f"--log-file={net.folder / name}.log"


def _cleanup(name: str) -> tuple[str, ...]:
    """The datapath outlives the daemon otherwise."""
    return ("--cleanup",) if name == "ovs-vswitchd" else ()
