# SPDX-License-Identifier: Apache-2.0
"""The capabilities the agent needs: with exactly these it measures, and without each it says which it lacks.

Debian restricts perf events further than the kernel does (``kernel.perf_event_paranoid=3``), which costs kprobes
CAP_SYS_ADMIN; where that is 2, the kernel's own default, CAP_BPF and CAP_PERFMON are enough for them. fentry on a
module's function always asks for CAP_SYS_ADMIN, to open the module's type information. CAP_NET_ADMIN is for
ctnetlink: the fallback, and for eBPF the connections that exist already.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from lab.network import netns
from tests.kernel.guest.network import PORT, SERVER4, Network, network
from tests.kernel.guest.process import agent
from tests.kernel.guest.sources import CTNETLINK, EBPF, SOURCES
from tests.kernel.guest.traffic import Connection

GRANTED: Final = ("net_admin", "sys_admin")
"""What the DaemonSet grants, and nothing else: no CAP_BPF or CAP_PERFMON, which CAP_SYS_ADMIN includes."""
MODEST: Final = "bpf,perfmon,net_admin"
PARANOID: Final = Path("/proc/sys/kernel/perf_event_paranoid")
NOBODY: Final = "65534"


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


def only(names: tuple[str, ...], *, user: str = "0") -> list[str]:
    """The command that leaves ``user`` these capabilities."""
    caps = ",".join(["-all", *(f"+{name}" for name in names)])
    command = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]
    if user != "0":
        command += [f"--reuid={user}", f"--regid={user}", "--clear-groups", f"--ambient-caps={caps}"]
    return [*command, "--"]


@pytest.mark.parametrize(
    ("source", "user"), [*((name, "0") for name in SOURCES), (EBPF[0], NOBODY)], ids=lambda value: value
)
def test_a_source_measures_with_what_the_daemonset_grants_and_no_more(
    net: Network, source: str, user: str
) -> None:
    names = ("net_admin",) if source == CTNETLINK else GRANTED
    truth = net.counted()
    with agent(net, source, privileges=only(names, user=user)) as limited:
        before = limited.read()
        assert "refused" not in before, before
        with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
            connection.send(100_000)
            net.quiet()
            now = net.counted()
            assert limited.read()["owners"]["uid-1"] == [now[way] - truth[way] for way in ("in_pod1", "out_pod1")]
        assert limited.end() == 0


def refusals(net: Network, source: str, *sets: str) -> Mapping[str, str]:
    """By set of capabilities, what the source says of it; empty where it begins."""
    argv = [sys.executable, "-m", "tests.kernel.guest.powers", source, *sets]
    with netns.entered(net.node):
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return MappingProxyType(json.loads(done.stdout.splitlines()[-1]))


def test_fentry_on_a_module_needs_sys_admin_which_includes_the_others(net: Network) -> None:
    said = refusals(net, "ebpf-fentry", "sys_admin", MODEST, "bpf,net_admin", "")
    assert said["sys_admin"] == ""
    for modest in (MODEST, "bpf,net_admin"):
        assert "CAP_SYS_ADMIN" in said[modest]
    assert "CAP_BPF and CAP_PERFMON" in said[""]


def test_a_kprobe_needs_sys_admin_only_where_perf_events_are_restricted_further(net: Network) -> None:
    usual = PARANOID.read_text().strip()
    assert usual == "3", "Debian's value; elsewhere this scenario says nothing"
    restricted = refusals(net, "ebpf-kprobe", "sys_admin", MODEST)
    PARANOID.write_text("2")
    try:
        ordinary = refusals(net, "ebpf-kprobe", MODEST, "bpf,perfmon", "bpf,net_admin", "perfmon,net_admin")
    finally:
        PARANOID.write_text(usual)
    assert restricted["sys_admin"] == ""
    assert "CAP_SYS_ADMIN" in restricted[MODEST]
    assert ordinary[MODEST] == ordinary["bpf,perfmon"] == ""
    assert "CAP_PERFMON" in ordinary["bpf,net_admin"]
    assert "CAP_BPF" in ordinary["perfmon,net_admin"]


def test_ctnetlink_needs_net_admin_and_nothing_else(net: Network) -> None:
    said = refusals(net, CTNETLINK, "net_admin", "bpf,perfmon,sys_admin")
    assert said["net_admin"] == ""
    assert "NET_ADMIN" in said["bpf,perfmon,sys_admin"]
