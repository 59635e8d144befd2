# SPDX-License-Identifier: Apache-2.0
"""One end of a flow: its key, its owner, and whether it called."""

from __future__ import annotations

import ctypes
import itertools
import socket

import pytest

from nodeagent.sources.ebpf.kernel.layout import (
    CARRIER_TAG,
    FLOW_FLIPPED,
    FLOW_LOCAL,
    HOST_TAG,
    Address,
    FlowEntry,
)
from nodeagent.sources.ebpf.values import wide

POD, OTHER = 1 << 12 | 2, 1 << 12 | 3
ABSENT, FOUND = 1, 2


class Endpoints(ctypes.Structure):
    _fields_ = (
        ("local", Address), ("remote", Address), ("local_port", ctypes.c_uint16),
        ("remote_port", ctypes.c_uint16), ("protocol", ctypes.c_uint8),
    )  # fmt: skip


def address(text: str) -> Address:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return Address.from_buffer_copy(wide(socket.inet_pton(family, text)))


def key(helpers: ctypes.CDLL, salt: int, ends: tuple[str, str], ports: tuple[int, int], protocol: int = 6) -> int:
    whole = Endpoints(*map(address, ends), *map(socket.htons, ports), protocol)
    return int(helpers.test_key_of(salt, ctypes.byref(whole)))


def test_every_part_of_the_tuple_and_the_salt_changes_the_key(helpers: ctypes.CDLL) -> None:
    found = [
        key(helpers, salt, ends, ports, protocol)
        for salt, ends, ports, protocol in itertools.product(
            (1, 2),
            (("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"), ("fd00::1", "fd00::2"), ("fd00::2", "fd00::1")),
            ((1000, 80), (80, 1000), (1001, 80)),
            (6, 17),
        )
    ]
    assert len(set(found)) == len(found) == 48
    assert 0 not in found


def test_many_flows_of_one_server_have_as_many_keys(helpers: ctypes.CDLL) -> None:
    found = {
        key(helpers, 7, ("10.0.0.1", f"10.0.{host >> 8}.{host & 255}"), (443, port))
        for host in range(256)
        for port in range(32_768, 32_868)
    }
    assert len(found) == 25_600


def test_a_mapped_address_has_the_key_of_its_packets(helpers: ctypes.CDLL) -> None:
    assert key(helpers, 1, ("::ffff:10.0.0.1", "::ffff:10.0.0.2"), (1, 2)) == key(
        helpers, 1, ("10.0.0.1", "10.0.0.2"), (1, 2)
    )


def test_a_note_names_one_end(helpers: ctypes.CDLL) -> None:
    found = {
        helpers.test_note_key(1, ctypes.byref(address(a)), port, protocol)
        for a in ("10.0.0.1", "10.0.0.2", "fd00::1")
        for port in (1, 2)
        for protocol in (6, 17)
    }
    assert len(found) == 12


@pytest.mark.parametrize(
    ("stamps", "ends", "owner", "local"),
    [
        ((0, 0), (POD, 0), POD, False),
        ((0, 0), (POD, OTHER), POD, True),
        ((0, 0), (POD, POD), POD, True),
        ((0, 0), (POD, HOST_TAG), POD, True),
        ((0, 0), (HOST_TAG, 0), HOST_TAG, False),
        ((0, 0), (HOST_TAG, POD), HOST_TAG, True),
        ((0, 0), (0, POD), 0, False),
        ((0, 0), (0, 0), 0, False),
        ((0, ABSENT), (POD, 0), POD, False),
        ((0, FOUND), (POD, 0), POD, True),
        ((POD, 0), (OTHER, 0), POD, False),
        ((POD, 0), (0, 0), POD, False),
        ((POD, 0), (HOST_TAG, OTHER), POD, True),
    ],
)
def test_the_local_end_owns_the_flow(
    helpers: ctypes.CDLL, stamps: tuple[int, int], ends: tuple[int, int], owner: int, *, local: bool
) -> None:
    flow = FlowEntry(stamp=stamps, flags=FLOW_FLIPPED)
    helpers.test_attribute_end(ctypes.byref(flow), *ends, 0)
    assert (flow.charge[0], flow.charge[1]) == (owner, 0)
    assert flow.flags == FLOW_FLIPPED | (FLOW_LOCAL if local else 0)
    assert flow.stamp[0] == (owner if owner != HOST_TAG else 0)


@pytest.mark.parametrize(("mine", "owner"), [(HOST_TAG, HOST_TAG), (POD, POD)])
def test_a_tunnels_outer_flow_is_a_carrier_for_as_long_as_it_is_a_tunnels(
    helpers: ctypes.CDLL, mine: int, owner: int
) -> None:
    flow = FlowEntry()
    helpers.test_attribute_end(ctypes.byref(flow), mine, 0, 1)
    assert (flow.charge[0], flow.flags) == (CARRIER_TAG, 0)
    helpers.test_attribute_end(ctypes.byref(flow), mine, 0, 0)
    assert flow.charge[0] == owner


@pytest.mark.parametrize(
    ("stamp", "mine", "changed"),
    [(POD, OTHER, True), (POD, POD, False), (POD, 0, False), (POD, HOST_TAG, False), (0, OTHER, False)],
)
def test_an_address_changes_hands_when_another_pod_has_it(
    helpers: ctypes.CDLL, stamp: int, mine: int, *, changed: bool
) -> None:
    assert helpers.test_has_changed_hands(ctypes.byref(FlowEntry(stamp=(stamp, 0))), mine) == changed


def test_whoever_has_the_lower_port_was_called(helpers: ctypes.CDLL) -> None:
    port = socket.htons
    assert helpers.test_called_from_afar(port(443), port(40_000))
    assert not helpers.test_called_from_afar(port(40_000), port(443))
