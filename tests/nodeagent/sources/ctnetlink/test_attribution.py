# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Carrier, Locality
from nodeagent.sources.ctnetlink.attribution import UNSTAMPED, Stamps, attribute
from nodeagent.sources.tuples import FlowTuples, format_endpoint, is_conversation
from tests.nodeagent.sources.ctnetlink.messages import packed

POD_A, POD_B, POD_6 = "10.1.0.2", "10.1.0.3", "fd00:1::2"
NODE, NODE_6, SERVICE, OUTSIDE, OUTSIDE_6 = "192.0.2.1", "fd00:9::1", "10.96.0.1", "198.51.100.7", "fd00:8::7"
LOCALITY = Locality(
    pods={packed(POD_A): "a", packed(POD_B): "b", packed(POD_6): "a"},
    node=frozenset(map(packed, (NODE, NODE_6, "127.0.0.1", "::1"))),
)


def tuples(orig_src: str, orig_dst: str, reply_src: str, reply_dst: str, protocol: int = 6) -> FlowTuples:
    return FlowTuples(protocol, packed(orig_src), packed(orig_dst), packed(reply_src), packed(reply_dst))


@pytest.mark.parametrize(
    ("flow", "owners", "local", "responder"),
    [
        # (orig src, orig dst, reply src, reply dst)
        pytest.param((POD_A, OUTSIDE, OUTSIDE, POD_A), ("a",), False, False, id="pod calls out"),
        pytest.param((OUTSIDE, POD_A, POD_A, OUTSIDE), ("a",), False, True, id="pod is called"),
        pytest.param((POD_A, SERVICE, OUTSIDE, POD_A), ("a",), False, False, id="service elsewhere (DNAT)"),
        pytest.param((POD_A, OUTSIDE, OUTSIDE, NODE), ("a",), False, False, id="masqueraded (SNAT)"),
        pytest.param((POD_A, SERVICE, OUTSIDE, NODE), ("a",), False, False, id="DNAT and SNAT"),
        pytest.param((OUTSIDE, NODE, POD_A, OUTSIDE), ("a",), False, True, id="host port, node port"),
        pytest.param((OUTSIDE, NODE, POD_A, NODE), ("a",), False, True, id="node port with SNAT"),
        pytest.param((POD_6, OUTSIDE_6, OUTSIDE_6, POD_6), ("a",), False, False, id="IPv6"),
        pytest.param((POD_A, POD_B, POD_B, POD_A), ("a", "b"), True, False, id="two pods here"),
        pytest.param((POD_A, SERVICE, POD_B, POD_A), ("a", "b"), True, False, id="two pods by service"),
        pytest.param((POD_A, SERVICE, POD_A, NODE), ("a",), True, False, id="hairpin to itself"),
        pytest.param((POD_A, NODE, NODE, POD_A), ("a",), True, False, id="pod calls its node"),
        pytest.param((NODE, POD_A, POD_A, NODE), ("a",), True, False, id="health probe by the node"),
        pytest.param((POD_A, SERVICE, NODE, POD_A), ("a",), True, False, id="service on the host network here"),
        pytest.param((NODE, OUTSIDE, OUTSIDE, NODE), (HOST,), False, False, id="node calls out"),
        pytest.param((OUTSIDE, NODE, NODE, OUTSIDE), (HOST,), False, True, id="node is called"),
        pytest.param((NODE_6, OUTSIDE_6, OUTSIDE_6, NODE_6), (HOST,), False, False, id="node calls out by IPv6"),
        pytest.param((NODE, NODE, NODE, NODE), (HOST,), True, False, id="node to itself"),
        pytest.param(("127.0.0.1",) * 4, (HOST,), True, False, id="loopback"),
        pytest.param(("127.0.0.53",) * 4, (HOST,), True, False, id="another loopback address"),
        pytest.param(("::1",) * 4, (HOST,), True, False, id="loopback by IPv6"),
        pytest.param(("10.1.0.9", OUTSIDE, OUTSIDE, NODE), (HOST,), False, False, id="unknown pod, masqueraded"),
        pytest.param(
            (OUTSIDE, NODE, "10.2.0.9", NODE), (HOST,), False, False, id="node port answered elsewhere, SNAT"
        ),
        pytest.param(
            (OUTSIDE, NODE, "10.2.0.9", OUTSIDE), (HOST,), False, True, id="node port answered elsewhere"
        ),
        pytest.param((OUTSIDE, "10.2.0.9", "10.2.0.9", OUTSIDE), (UNATTRIBUTED,), False, False, id="forwarded"),
        # A service address and a masquerade address that happen to be pods' addresses own nothing.
        pytest.param((OUTSIDE, POD_B, "10.2.0.9", POD_A), (UNATTRIBUTED,), False, False, id="neither DST owns"),
    ],
)
def test_ownership(flow: tuple[str, str, str, str], owners: tuple[str, ...], local: bool, responder: bool) -> None:
    for protocol in (6, 17, 132, 1):
        found = attribute(tuples(*flow, protocol=protocol), LOCALITY)
        assert (found.owners, found.local, found.responder) == (owners, local, responder)


@pytest.mark.parametrize(
    ("stamps", "pods", "owners", "local"),
    [
        pytest.param(UNSTAMPED, {POD_A: "late"}, ("late",), False, id="a pod known late gets it"),
        pytest.param(("old", None), {POD_A: "new"}, ("old",), False, id="a reused address does not"),
        pytest.param(("old", None), {}, ("old",), False, id="nor does anybody once the pod is gone"),
        pytest.param(
            ("a", None), {POD_A: "a", POD_B: "late"}, ("a", "late"), True, id="the other end becomes known"
        ),
        pytest.param(("a", "old"), {POD_A: "a", POD_B: "new"}, ("a", "old"), True, id="both ends stamped"),
    ],
)
def test_stamps_outlive_addresses(
    stamps: Stamps, pods: dict[str, str], owners: tuple[str, ...], local: bool
) -> None:
    locality = Locality(pods={packed(address): uid for address, uid in pods.items()})
    found = attribute(tuples(POD_A, POD_B, POD_B, POD_A), locality, stamps)
    assert (found.owners, found.local) == (owners, local)


def test_only_icmp_is_no_conversation() -> None:
    assert [p for p in range(256) if not is_conversation(p)] == [1, 58]


def test_endpoints_are_written_as_people_write_them() -> None:
    assert format_endpoint(packed("10.0.0.1"), 80) == "10.0.0.1:80"
    assert format_endpoint(packed("fd00::1"), 80) == "[fd00::1]:80"
    assert format_endpoint(packed("10.0.0.1"), 0) == "10.0.0.1"
    assert format_endpoint(packed("fd00::1"), 0) == "fd00::1"


PEER, STRANGER = "192.0.2.2", "192.0.2.3"
TUNNELS = frozenset(
    {
        Carrier(17, 8472, False, packed(PEER)), Carrier(17, 8472, True, packed(PEER)),  # VXLAN to a known machine
        Carrier(17, 6081, False), Carrier(17, 6081, True),  # Geneve to any
        Carrier(17, 51820), Carrier(4),  # WireGuard, IPIP
    }
)  # fmt: skip


def sent(source: tuple[str, int], destination: tuple[str, int], protocol: int = 17) -> FlowTuples:
    (src, port), (dst, dst_port) = source, destination
    return FlowTuples(
        protocol, packed(src), packed(dst), packed(dst), packed(src), port, dst_port, dst_port, port
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "owner"),
    [
        pytest.param(sent((NODE, 40000), (PEER, 8472)), CARRIER, id="VXLAN sent"),
        pytest.param(sent((PEER, 40000), (NODE, 8472)), CARRIER, id="VXLAN received"),
        pytest.param(sent((NODE, 40000), (STRANGER, 8472)), HOST, id="its port at another machine"),
        pytest.param(sent((STRANGER, 40000), (NODE, 8472)), HOST, id="its port here, from another machine"),
        pytest.param(sent((NODE, 8472), (PEER, 40000)), CARRIER, id="the port here is the kernel's"),
        pytest.param(sent((PEER, 8472), (NODE, 40000)), CARRIER, id="the port there is the kernel's"),
        pytest.param(sent((NODE, 40000), (PEER, 8472), protocol=6), HOST, id="its port by TCP"),
        pytest.param(sent((NODE, 40000), (STRANGER, 6081)), CARRIER, id="a device that says no remote"),
        pytest.param(sent((STRANGER, 40000), (NODE, 6081)), CARRIER, id="and from there"),
        pytest.param(sent((NODE, 51820), (STRANGER, 33)), CARRIER, id="from WireGuard's port"),
        pytest.param(sent((STRANGER, 33), (NODE, 51820)), CARRIER, id="to WireGuard's port"),
        pytest.param(sent((NODE, 40000), (STRANGER, 51820)), HOST, id="to somebody else's WireGuard"),
        pytest.param(sent((NODE, 0), (STRANGER, 0), protocol=4), CARRIER, id="IP in IP"),
        pytest.param(sent((NODE, 40000), (STRANGER, 443)), HOST, id="QUIC"),
        pytest.param(sent((NODE, 40000), (NODE, 6081)), HOST, id="inside the node"),
        pytest.param(sent((POD_A, 40000), (PEER, 8472)), "a", id="a pod to the port of a tunnel"),
        pytest.param(sent((POD_A, 0), (PEER, 0), protocol=4), "a", id="a pod with a tunnel of its own"),
        pytest.param(sent((PEER, 40000), (POD_A, 8472)), "a", id="a pod that answers there"),
        pytest.param(sent((POD_A, 40000), (NODE, 6081)), "a", id="a pod to its node's port"),
        pytest.param(sent((STRANGER, 40000), (PEER, 6081)), UNATTRIBUTED, id="another's, passing through"),
        pytest.param(
            FlowTuples(17, packed("10.1.0.9"), packed(PEER), packed(PEER), packed(NODE), 9, 8472, 8472, 9), HOST,
            id="a pod not known yet, under the node's address",
        ),
    ],
)  # fmt: skip
def test_only_the_nodes_own_flows_between_a_tunnels_ends_are_carriers(flow: FlowTuples, owner: str) -> None:
    locality = Locality(LOCALITY.pods, LOCALITY.node, TUNNELS)
    assert attribute(flow, locality).owners == (owner,)
    if owner == CARRIER:
        assert attribute(flow, locality).responder == (flow.orig_src != packed(NODE))
        assert not attribute(flow, locality).local
        assert attribute(flow, LOCALITY).owners == (HOST,)
