# SPDX-License-Identifier: Apache-2.0
"""Which pods own a flow, and in which direction its bytes went.

Enters: a flow's two tuples, this node's addresses, the owners that the flow was stamped with before. Leaves: an
``Attribution``. Guarantees: pure. A stamped side keeps its pod, so a reused address adds nothing to another pod. A
side without a stamp takes the pod that has its address now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Carrier, Locality
from nodeagent.sources.tuples import FlowTuples

Stamps = tuple[str | None, str | None]
"""Pod UIDs of initiator and responder, each None while no pod of this node is known for that side."""

UNSTAMPED: Final[Stamps] = (None, None)


@dataclass(frozen=True, slots=True)
class Attribution:
    """A flow over the link has exactly one owner; one that stays on the node has one or two."""

    owners: tuple[str, ...]
    local: bool = False
    """Both ends are on this node: the link is not used."""
    responder: bool = False
    """The owner of a link flow is its responder: direction ORIGINAL is receive."""
    stamps: Stamps = UNSTAMPED


def attribute(tuples: FlowTuples, locality: Locality, stamps: Stamps = UNSTAMPED) -> Attribution:
    """The owners of a flow; ``stamps`` are those of its previous attribution, if it had one."""
    initiator = stamps[0] or locality.pods.get(tuples.orig_src)
    responder = stamps[1] or locality.pods.get(tuples.reply_src)
    if initiator is None and responder is None:
        return _without_pod(tuples, locality)
    found = (initiator, responder)
    from_here = initiator is not None or _is_node(tuples.orig_src, locality)
    to_here = responder is not None or _is_node(tuples.reply_src, locality)
    if from_here and to_here:
        # A pod that reaches itself through its service address owns the flow once.
        return Attribution(tuple(dict.fromkeys(uid for uid in found if uid)), local=True, stamps=found)
    return Attribution((initiator or responder or "",), responder=initiator is None, stamps=found)


def _without_pod(tuples: FlowTuples, locality: Locality) -> Attribution:
    from_node, to_node = _is_node(tuples.orig_src, locality), _is_node(tuples.reply_src, locality)
    if from_node and to_node:
        return Attribution((HOST,), local=True)
    if from_node or to_node:
        owner = CARRIER if _is_carrier(tuples, locality, from_here=from_node) else HOST
        return Attribution((owner,), responder=not from_node)
    if _is_node(tuples.reply_dst, locality):  # leaves under the node's address (masquerade): sent by the node
        return Attribution((HOST,))
    if _is_node(tuples.orig_dst, locality):  # came to the node's address, answered elsewhere (node port)
        return Attribution((HOST,), responder=True)
    # Forwarded, or of a pod that is not known yet. By convention, ORIGINAL counts as sent.
    return Attribution((UNATTRIBUTED,))


def _is_carrier(tuples: FlowTuples, locality: Locality, *, from_here: bool) -> bool:
    """Whether a tunnel of the node sent or received this; both ends are as they see themselves."""
    there, port_there = tuples.reply_src, tuples.reply_src_port
    port_here = tuples.orig_src_port
    if not from_here:
        there, port_there, port_here = tuples.orig_src, tuples.orig_src_port, port_there
    return any(
        Carrier(tuples.protocol, port, here, remote) in locality.carriers
        for port, here in ((port_here, True), (port_there, False))
        for remote in (b"", there)
    )


def _is_node(address: bytes, locality: Locality) -> bool:
    return address in locality.node or (len(address) == 4 and address[0] == 127)
