# SPDX-License-Identifier: Apache-2.0
"""Virtual machines behind taps, bound as KubeVirt binds them: what the guest sends is its pod's, byte for byte.

A network namespace plays the guest. Its sockets are this kernel's, unlike a real guest's, so the source at sockets
has no part in this: tests/kernel/test_machines.py has a real guest for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from lab.network import netns
from nodeagent.sources.base import FlowSource
from tests.kernel.guest import frames, launcher
from tests.kernel.guest.measuring import LENIENT, Measuring
from tests.kernel.guest.network import (
    LOCALITY,
    POD1_4,
    POD1_6,
    POD2_4,
    POD2_6,
    PORT,
    SERVER4,
    SERVER6,
    Network,
    network,
)
from tests.kernel.guest.sources import SOURCES, opened
from tests.kernel.guest.traffic import Connection

SENT, ANSWERED = 3_000_000, 60_000


@dataclass(frozen=True)
class Machine:
    """A guest's namespace, and the pod that it is in."""

    guest: str
    own4: str
    """The guest's own address."""
    pod4: str
    link: str
    uid: str


@dataclass(frozen=True)
class Machines:
    net: Network
    sources: Mapping[str, FlowSource]
    by_binding: Mapping[str, Machine]


@pytest.fixture(scope="module")
def node(pytestconfig: pytest.Config) -> Iterator[Machines]:
    """A node of its own, and a machine in each of two pods."""
    names = {binding: f"tfk-{os.getpid()}-guest-{binding}" for binding in launcher.BINDINGS}
    with network() as net, ExitStack() as stack:
        stack.callback(netns.delete_all, list(names.values()))
        netns.create_all(list(names.values()))
        found = {}
        pods = ((net.pod1, POD1_4, POD1_6, "pod1", "uid-1"), (net.pod2, POD2_4, POD2_6, "pod2", "uid-2"))
        for (binding, guest), (pod, four, six, link, uid) in zip(names.items(), pods, strict=True):
            told = launcher.bind(pod, binding, four, six)
            stack.enter_context(frames.plugged(guest, pod, told))
            found[binding] = Machine(guest, told.address4, four, link, uid)
        sources = stack.enter_context(
            opened(pytestconfig.getoption("--source") or SOURCES, net.node, LENIENT, LOCALITY)
        )
        yield Machines(net, sources, found)


@pytest.fixture(params=launcher.BINDINGS)
def machine(node: Machines, request: pytest.FixtureRequest) -> tuple[Measuring, Machine]:
    """Measuring begins anew; an elephant of the test before is gone."""
    measuring = Measuring(node.sources, node.net)
    measuring.set_thresholds(LENIENT)
    return measuring, node.by_binding[request.param]


def check(measuring: Measuring, machine: Machine, sent: int, received: int) -> None:
    """Every source charged the machine's pod, and nobody else, with what the node's own rules saw."""
    truth = measuring.truth()
    carried = truth[f"in_{machine.link}"], truth[f"out_{machine.link}"]
    owners = measuring.owners()
    assert owners.keys() == {machine.uid}
    counted = owners[machine.uid].tx_bytes, owners[machine.uid].rx_bytes
    assert counted == carried
    assert carried[0] >= sent
    assert carried[1] >= received


@pytest.mark.parametrize("server", [SERVER4, SERVER6], ids=["IPv4", "IPv6"])
def test_what_a_guest_sends_is_its_pods(machine: tuple[Measuring, Machine], server: str) -> None:
    measuring, vm = machine
    with Connection(vm.guest, measuring.net.server, server, listen=server, port=PORT) as connection:
        connection.send(SENT)
        connection.answer(ANSWERED)
        connection.finish()
    check(measuring, vm, SENT, ANSWERED)


def test_what_a_guest_is_asked_for_is_its_pods(machine: tuple[Measuring, Machine]) -> None:
    measuring, vm = machine
    with Connection(measuring.net.server, vm.guest, vm.pod4, listen=vm.own4, port=PORT) as connection:
        connection.send(ANSWERED)
        connection.answer(SENT)
        connection.finish()
    check(measuring, vm, SENT, ANSWERED)


def test_a_guests_elephant_has_its_pod_as_owner(machine: tuple[Measuring, Machine]) -> None:
    measuring, vm = machine
    with Connection(vm.guest, measuring.net.server, SERVER4, listen=SERVER4, port=PORT + 5) as connection:
        for _ in range(200):
            connection.send(SENT)
            found = measuring.read()
            if all(reading.elephants for reading in found.values()):
                break
        for name, reading in found.items():
            [elephant] = reading.elephants
            assert elephant.owners == (vm.uid,), name
            assert elephant.source.startswith(f"{vm.pod4}:"), "the guest's own address is never seen"
