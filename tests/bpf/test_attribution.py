# SPDX-License-Identifier: Apache-2.0
"""Owners in C are the owners in Python: every combination of who lives at a flow's ends."""

from __future__ import annotations

import ctypes
import itertools
import socket

import pytest

from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Carrier, Locality
from nodeagent.sources.ctnetlink.attribution import Stamps, attribute
from nodeagent.sources.ebpf.kernel.layout import (
    CARRIER_TAG,
    FLOW_FLIPPED,
    FLOW_LOCAL,
    FLOW_SETTLED,
    HOST_TAG,
    Address,
    CarrierKey,
    FlowEntry,
)
from nodeagent.sources.ebpf.values import carrier_key, narrow, wide
from nodeagent.sources.tuples import FlowTuples, is_conversation

POD_A, POD_B, POD_C = 1 << 12 | 3, 1 << 12 | 4, 7 << 12 | 5
NAMES = {0: UNATTRIBUTED, HOST_TAG: HOST, CARRIER_TAG: CARRIER, POD_A: "a", POD_B: "b", POD_C: "c"}
ADDRESSES = {0: b"\x08\x08\x08\x08", HOST_TAG: b"\xc0\x00\x02\x01", POD_A: b"\x0a\0\0\1", POD_B: b"\x0a\0\0\2"}
LOCALITY = Locality(pods={ADDRESSES[POD_A]: "a", ADDRESSES[POD_B]: "b"}, node=frozenset({ADDRESSES[HOST_TAG]}))


class Ends(ctypes.Structure):
    """struct ends of bpf/attribution.h."""

    _fields_ = tuple(
        (n, ctypes.c_uint32) for n in ("source", "destination", "reply_source", "reply_destination", "carrier")
    )


class Tuples(ctypes.Structure):
    """struct tuples of bpf/attribution.h."""

    _fields_ = (
        *((n, Address) for n in ("source", "destination", "reply_source", "reply_destination")),
        *(
            (n, ctypes.c_uint16)
            for n in ("source_port", "destination_port", "reply_source_port", "reply_destination_port")
        ),
        ("protocol", ctypes.c_uint8), ("reserved", ctypes.c_uint8 * 3),
    )  # fmt: skip


def in_c(helpers: ctypes.CDLL, ends: tuple[int, ...], stamps: tuple[int, int]) -> FlowEntry:
    flow = FlowEntry(stamp=stamps, flags=FLOW_SETTLED | FLOW_LOCAL | FLOW_FLIPPED)
    helpers.test_attribute(ctypes.byref(flow), ctypes.byref(Ends(*ends)))
    return flow


def asked(helpers: ctypes.CDLL, tuples: FlowTuples, ends: Ends) -> set[bytes]:
    """What the map of carriers is asked for, about one flow."""
    if not helpers.test_may_be_carrier(ctypes.byref(ends)):
        return set()
    told = Tuples(
        *(Address.from_buffer_copy(wide(address)) for address in tuples[1:5]),
        *(socket.htons(port) for port in tuples[5:9]),
        tuples.protocol,
    )
    key, found = CarrierKey(), set()
    for here, whoever in itertools.product((0, 1), repeat=2):
        helpers.test_carrier_of(ctypes.byref(key), ctypes.byref(told), ctypes.byref(ends), here, whoever)
        found.add(bytes(key))
    return found


@pytest.mark.parametrize("stamps", [(0, 0), (POD_C, 0), (0, POD_C)])
@pytest.mark.parametrize("port", [1000, 2000, 3000])
@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("remote", [b"", ADDRESSES[0], b"\x08\x08\x08\x09"])
def test_carriers_are_the_same_in_both_languages(
    helpers: ctypes.CDLL, stamps: tuple[int, int], port: int, here: bool, remote: bytes
) -> None:
    carrier = Carrier(17, port, here, remote)
    locality = Locality(LOCALITY.pods, LOCALITY.node, frozenset({carrier}))
    before: Stamps = (NAMES[stamps[0]] if stamps[0] else None, NAMES[stamps[1]] if stamps[1] else None)
    for ends in itertools.product(ADDRESSES, repeat=4):
        source, destination, reply_source, reply_destination = (ADDRESSES[end] for end in ends)
        tuples = FlowTuples(17, source, destination, reply_source, reply_destination, 1000, 3000, 2000, 4000)
        known = carrier_key(carrier) in asked(helpers, tuples, Ends(*ends))
        flow = in_c(helpers, (*ends, known), stamps)
        expected = attribute(tuples, locality, before)
        assert NAMES[flow.charge[0]] == expected.owners[0], ends
        if expected.owners == (CARRIER,):
            assert bool(flow.flags & FLOW_FLIPPED) == expected.responder, ends
            assert not flow.flags & FLOW_LOCAL


@pytest.mark.parametrize("stamps", [(0, 0), (POD_C, 0), (0, POD_C), (POD_A, POD_B), (POD_C, POD_C)])
def test_attribution_is_the_same_in_both_languages(helpers: ctypes.CDLL, stamps: tuple[int, int]) -> None:
    for ends in itertools.product(ADDRESSES, repeat=4):
        flow = in_c(helpers, ends, stamps)
        before: Stamps = (NAMES[stamps[0]] if stamps[0] else None, NAMES[stamps[1]] if stamps[1] else None)
        source, destination, reply_source, reply_destination = (ADDRESSES[end] for end in ends)
        expected = attribute(FlowTuples(6, source, destination, reply_source, reply_destination), LOCALITY, before)
        owners = [NAMES[flow.charge[0]], *([NAMES[flow.charge[1]]] if flow.charge[1] else [])]
        assert tuple(owners) == expected.owners, ends
        assert bool(flow.flags & FLOW_LOCAL) == expected.local, ends
        if not expected.local:
            assert bool(flow.flags & FLOW_FLIPPED) == expected.responder, ends
        assert tuple(NAMES[s] if s else None for s in flow.stamp) == expected.stamps, ends
        assert flow.flags & FLOW_SETTLED


@pytest.mark.parametrize("protocol", range(256))
def test_conversations_are_the_same_in_both_languages(helpers: ctypes.CDLL, protocol: int) -> None:
    assert bool(helpers.test_is_conversation(protocol)) == is_conversation(protocol)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.255.0.9", True), ("126.0.0.1", False), ("128.0.0.1", False), ("::1", False),
     ("7f00::1", False)],
)  # fmt: skip
def test_all_of_127_is_the_nodes_own(helpers: ctypes.CDLL, address: str, loopback: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = Address.from_buffer_copy(wide(socket.inet_pton(family, address)))
    assert bool(helpers.test_is_v4_loopback(ctypes.byref(packed))) == loopback
    assert narrow(bytes(packed)) == socket.inet_pton(family, address)
