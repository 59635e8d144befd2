# SPDX-License-Identifier: Apache-2.0
"""Which addresses belong to this node: the pods' from the snapshot, the node's own from the kernel.

Enters: the pod snapshot; rtnetlink's list of addresses. Leaves: ``Locality``, packed addresses. Guarantees: an
address belongs to one pod at most; pods that ended own none.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from nodeagent.node.netlink import attributes, dump, parse_dump
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import Carrier, Locality

_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFADDRMSG: Final = struct.Struct("=BBBBi")


def parse_addresses(datagram: bytes) -> tuple[list[bytes], bool]:
    """Addresses in one datagram of an address dump, and whether the dump ends with it.

    On a point-to-point interface IFA_ADDRESS is the peer's: IFA_LOCAL is taken where there is one.
    Raises OSError when the kernel answers with an error.
    """
    bodies, done = parse_dump(datagram, _RTM_NEWADDR)
    return list(_addresses(bodies)), done


def _addresses(bodies: Iterable[bytes]) -> Iterator[bytes]:
    for body in bodies:
        values = attributes(body[_IFADDRMSG.size :])
        address = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
        if address is not None and len(address) in (4, 16):
            yield address


def node_addresses() -> frozenset[bytes]:
    """All addresses of this network namespace, loopback included. Raises OSError."""
    return frozenset(_addresses(dump(_RTM_GETADDR, _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))))


def locality(
    pods: Iterable[LocalPod], node: frozenset[bytes], carriers: frozenset[Carrier] = frozenset()
) -> Locality:
    """Addresses of running pods by owner. ``carriers``: the node's tunnels.

    Two pods may have one address for a moment: it was reused before the first pod's end was reported. The pod that
    started later has it. An address of the node is never a pod's.
    """
    owners: dict[bytes, str] = {}
    sharing: dict[str, str] = {}
    for pod in sorted(pods, key=lambda pod: (pod.started, pod.uid)):
        if pod.measured:
            owners.update((address, pod.uid) for address in pod.addresses if address not in node)
        elif pod.sharing:
            sharing[pod.uid] = pod.group or pod.uid
    return Locality(owners, node, carriers, sharing)
