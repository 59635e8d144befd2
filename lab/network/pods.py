# SPDX-License-Identifier: Apache-2.0
"""A pod's own namespace behind its node: one link, one IPv4 and one IPv6 address, a default route.

Enters: names and addresses. Leaves: a namespace whose eth0 reaches its node, other pods and the outside (which
sees the node's address). Guarantees: both families work as soon as ``create`` returns, because both ends have
permanent neighbour entries. A failed ``create`` leaves nothing behind. ``destroy`` may be repeated.

Pods are routed as Calico routes them. The node has a route to exactly the pod's addresses. The pod sends
everything to a link-local next hop that exists only as a neighbour entry. There is no bridge, so each packet of a
pod passes its node's IP hooks once, and the node's conntrack sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.network import addresses, commands, netns, shaping, sysctls

_SHORT_UID_LENGTH = 10
"""Characters of a UID in names: an interface's name has room for 15."""


@dataclass(frozen=True)
class PodLink:
    """Where a pod is plugged in: made by ``plan``."""

    namespace: str
    node_namespace: str
    interface: str
    """The node's end."""
    v4: str
    v6: str


def plan(lab_id: str, node_namespace: str, uid: str, v4: str, v6: str) -> PodLink:
    """Names for the pod with API UID ``uid``: namespace ``tf-<lab>-p-<short uid>``."""
    short = uid.replace("-", "")[:_SHORT_UID_LENGTH]
    return PodLink(f"tf-{lab_id}-p-{short}", node_namespace, f"p{short}", v4, v6)


def create(link: PodLink) -> None:
    """Make the namespace and wire it. Raises CommandError, and then nothing is left of it."""
    try:
        commands.ip_batch(link.node_namespace, node_script(link))
        commands.sysctl(link.namespace, sysctls.TCP)
        commands.ip_batch(link.namespace, pod_script(link))
    except commands.CommandError:
        destroy(link)
        raise


def destroy(link: PodLink) -> None:
    """End what runs in the pod's namespace and remove both; nothing happens when they are gone."""
    netns.delete(link.namespace)
    if netns.exists(link.node_namespace):
        # A namespace's own clean-up comes some time later; the route must be gone before its address is reused.
        commands.ip_batch(link.node_namespace, f"link delete {link.interface}\n", force=True)


def node_script(link: PodLink) -> str:
    """``ip`` lines in the node's namespace: the pod's namespace, the link, routes to the pod's addresses."""
    hardware = addresses.mac(link.v4)
    lines = [
        f"netns add {link.namespace}",
        f"link add {link.interface} address {addresses.POD_GATEWAY_MAC} type veth "
        f"peer name eth0 address {hardware} netns {link.namespace}",
        f"link set {link.interface} gso_max_size {shaping.GSO_BYTES} addrgenmode none up",
        f"neigh add {link.v4} lladdr {hardware} dev {link.interface} nud permanent",
        f"neigh add {link.v6} lladdr {hardware} dev {link.interface} nud permanent",
        f"route add {link.v4}/32 dev {link.interface}",
        f"route add {link.v6}/128 dev {link.interface}",
    ]
    return "\n".join(lines) + "\n"


def pod_script(link: PodLink) -> str:
    """``ip`` lines in the pod's namespace: loopback, addresses, the next hop and its neighbour entry."""
    v4, v6, hardware = addresses.POD_GATEWAY_V4, addresses.POD_GATEWAY_V6, addresses.POD_GATEWAY_MAC
    lines = [
        "link set lo up",
        f"link set eth0 gso_max_size {shaping.GSO_BYTES} addrgenmode none up",
        f"addr add {link.v4}/32 dev eth0",
        f"addr add {link.v6}/128 dev eth0 nodad",
        f"neigh add {v4} lladdr {hardware} dev eth0 nud permanent",
        f"neigh add {v6} lladdr {hardware} dev eth0 nud permanent",
        f"route add default via {v4} dev eth0 onlink",
        f"route add default via {v6} dev eth0 onlink",
    ]
    return "\n".join(lines) + "\n"
