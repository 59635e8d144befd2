# SPDX-License-Identifier: Apache-2.0
"""Flows counted at the sockets of this machine, for datapaths that conntrack does not see.

Enters: the root of the machine's cgroup2 tree, this node's addresses, thresholds. Leaves: ``CgroupSource``, its
preflight. Maps, owners, elephants and pins are those of ``sources.ebpf``.

Two programs at the root of the cgroup2 tree see every packet that a local socket sends or takes, in whatever
network namespace and over whatever device. A raw tracepoint tells of the ends of TCP connections. What that means:

- Each end on this node has an entry of its own. Egress is what it sends, ingress what it takes.
- Local traffic is what has both ends here. Where a service's address is translated outside the socket, the end
  that calls does not see who answers. The end that answers leaves a note for it. Until the answer, what it sent
  counts as sent over the link: nothing with TCP, the first datagrams otherwise.
- What a listening socket sees makes no entry, so a flood of SYNs costs bytes and no room. TCP connections that
  existed before are entered with what their sockets carried. So are those that the full map gave up.
- A raw socket can name any sender in the headers of TCP, UDP and SCTP that it writes. Its packets belong to
  nobody, unless they are of a flow that a real socket of the same end has.
- UDP, SCTP and other protocols have no end that could be seen. An entry that is idle for as long as conntrack
  would wait counts as ended (``idle``).
- An address that was given to another pod ends the flows that it had.
- Not seen: what no socket of this kernel sends. Virtual machines, gVisor and Kata, forwarded traffic, AF_PACKET.
  Loopback is left out. Bytes are those of IP packets, as a socket sees them: once for each merged run.
- Pods on the node's network have the node's addresses, and a cgroup each: their sockets' cgroups tell them apart
  (``groups``). Without such a cgroup a socket with the node's address is HOST's.
- A socket of the node itself that ``Locality.carriers`` names belongs to CARRIER: a program's tunnel. The kernel's
  own tunnels pass no socket.
"""

from nodeagent.sources.cgroup.source import CgroupSource

__all__ = ["CgroupSource"]
