# SPDX-License-Identifier: Apache-2.0
"""Owners in C are the owners in Python: every combination of who lives at a flow's ends."""

from __future__ import annotations

import ctypes
import itertools
import socket

import pytest

from nodeagent.sources.base import HOST, UNATTRIBUTED, Locality
from nodeagent.sources.ctnetlink.attribution import Stamps, attribute
from nodeagent.sources.ebpf.kernel.layout import (
    FLOW_FLIPPED,
    FLOW_LOCAL,
    FLOW_SETTLED,
    HOST_TAG,
    Address,
    FlowEntry,
)
from nodeagent.sources.ebpf.values import narrow, wide
from nodeagent.sources.tuples import FlowTuples, is_conversation

POD_A, POD_B, POD_C = 1 << 12 | 2, 1 << 12 | 3, 7 << 12 | 4
NAMES = {0: UNATTRIBUTED, HOST_TAG: HOST, POD_A: "a", POD_B: "b", POD_C: "c"}
ADDRESSES = {0: b"\x08\x08\x08\x08", HOST_TAG: b"\xc0\x00\x02\x01", POD_A: b"\x0a\0\0\1", POD_B: b"\x0a\0\0\2"}
LOCALITY = Locality(pods={ADDRESSES[POD_A]: "a", ADDRESSES[POD_B]: "b"}, node=frozenset({ADDRESSES[HOST_TAG]}))


class Ends(ctypes.Structure):
    """struct ends of bpf/attribution.h."""

    _fields_ = tuple((n, ctypes.c_uint32) for n in ("source", "destination", "reply_source", "reply_destination"))


def in_c(helpers: ctypes.CDLL, ends: tuple[int, ...], stamps: tuple[int, int]) -> FlowEntry:
    flow = FlowEntry(stamp=stamps, flags=FLOW_SETTLED | FLOW_LOCAL | FLOW_FLIPPED)
    helpers.test_attribute(ctypes.byref(flow), ctypes.byref(Ends(*ends)))
    return flow


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
