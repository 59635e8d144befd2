# SPDX-License-Identifier: Apache-2.0
"""Service addresses by DNAT in each node's namespace, as kube-proxy does it: pure.

Enters: Services and EndpointSlices as JSON. Leaves: one nft script, the same for every node, which replaces the
whole table in one transaction (``lab.network.commands.nft`` applies it). Guarantees: TCP, UDP and SCTP work over
IPv4 and IPv6, and each new connection goes to a random endpoint. A Service address without a ready endpoint
answers "port unreachable", and so does a port that the Service lacks. There is no session affinity, and there are
no node ports and no external addresses.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.network.addresses import SERVICE_CIDR_V4, SERVICE_CIDR_V6

TABLE: Final = "inet services"
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})


@dataclass(frozen=True, slots=True)
class ClusterService:
    """A Service with addresses of its own: ``ports`` are (name, protocol, port)."""

    key: tuple[str, str]
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """The ready addresses of one slice of ``service``: ``ports`` are (name, protocol, port)."""

    key: tuple[str, str]
    service: tuple[str, str]
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...]


def service_of(raw: Mapping[str, Any]) -> ClusterService | None:
    """A Service's part that matters here; None for headless and external-name ones."""
    spec, meta = raw["spec"], raw["metadata"]
    if spec.get("type") == "ExternalName":
        return None
    own = spec.get("clusterIPs") or [spec.get("clusterIP")]
    usable = tuple(str(ipaddress.ip_address(a)) for a in own if a and a != "None")
    ports = tuple(_port(port) for port in spec.get("ports") or ())
    return ClusterService((meta["namespace"], meta["name"]), usable, ports) if usable else None


def slice_of(raw: Mapping[str, Any]) -> EndpointSlice | None:
    """An EndpointSlice's ready addresses; None for host names and for slices of no Service."""
    meta = raw["metadata"]
    service = (meta.get("labels") or {}).get("kubernetes.io/service-name")
    if raw.get("addressType") not in ("IPv4", "IPv6") or not service:
        return None
    ready = tuple(
        str(ipaddress.ip_address(endpoint["addresses"][0]))
        for endpoint in raw.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
    )
    # A port without a number stands for all ports, which a Service never asks for.
    ports = tuple(_port(port) for port in raw.get("ports") or () if port.get("port"))
    return EndpointSlice((meta["namespace"], meta["name"]), (meta["namespace"], service), ready, ports)


def render(services: Iterable[ClusterService], slices: Iterable[EndpointSlice]) -> str:
    """The nft script; equal input in any order gives equal text, so that an unchanged one need not be applied."""
    backends = _backends(slices)
    chains: list[str] = []
    verdicts: dict[int, list[str]] = {4: [], 6: []}
    reached: dict[int, set[str]] = {4: set(), 6: set()}
    for service in sorted(services, key=lambda s: s.key):
        for address in service.addresses:
            family = ipaddress.ip_address(address).version
            for name, protocol, port in service.ports:
                targets = sorted(backends.get((service.key, family, name, protocol), ()))
                if protocol not in _PROTOCOLS or not targets:
                    continue
                chain = f"svc-{len(chains)}"
                chains.append(_chain(chain, family, protocol, targets))
                verdicts[family].append(f"{address} . {protocol} . {port} : goto {chain}")
                reached[family].update(target for target, _ in targets)
    return _table(chains, verdicts, reached)


def _backends(
    slices: Iterable[EndpointSlice],
) -> dict[tuple[tuple[str, str], int, str, str], set[tuple[str, int]]]:
    found: dict[tuple[tuple[str, str], int, str, str], set[tuple[str, int]]] = defaultdict(set)
    for piece in slices:
        for address in piece.addresses:
            family = ipaddress.ip_address(address).version
            for name, protocol, port in piece.ports:
                found[(piece.service, family, name, protocol)].add((address, port))
    return found


def _chain(name: str, family: int, protocol: str, targets: Sequence[tuple[str, int]]) -> str:
    ip = "ip" if family == 4 else "ip6"
    choices = ", ".join(f"{i} : {address} . {port}" for i, (address, port) in enumerate(targets))
    return (
        f"    chain {name} {{\n"
        f"        meta l4proto {protocol} dnat {ip} addr . port "
        f"to numgen random mod {len(targets)} map {{ {choices} }}\n"
        "    }\n"
    )


def _table(chains: Sequence[str], verdicts: Mapping[int, list[str]], reached: Mapping[int, set[str]]) -> str:
    return (
        # Named first so that deleting it never fails; then all new, in the same transaction.
        f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n"
        + "".join(chains)
        + _map("service-v4", "ipv4_addr . inet_proto . inet_service : verdict", verdicts[4])
        + _map("service-v6", "ipv6_addr . inet_proto . inet_service : verdict", verdicts[6])
        + _set("hairpin-v4", "ipv4_addr . ipv4_addr", [f"{a} . {a}" for a in sorted(reached[4])])
        + _set("hairpin-v6", "ipv6_addr . ipv6_addr", [f"{a} . {a}" for a in sorted(reached[6])])
        + f"""\
    chain translate {{
        ip daddr . meta l4proto . th dport vmap @service-v4
        ip6 daddr . meta l4proto . th dport vmap @service-v6
    }}
    chain forwarded {{
        type nat hook prerouting priority dstnat; policy accept;
        jump translate
    }}
    chain local {{
        type nat hook output priority -100; policy accept;
        jump translate
    }}
    chain hairpin {{
        comment "a pod that drew itself must see its node as the peer, or it would answer itself directly"
        type nat hook postrouting priority srcnat - 1; policy accept;
        ct status dnat ip saddr . ip daddr @hairpin-v4 masquerade
        ct status dnat ip6 saddr . ip6 daddr @hairpin-v6 masquerade
    }}
    chain unserved-forward {{
        type filter hook forward priority filter; policy accept;
        jump unserved
    }}
    chain unserved-output {{
        type filter hook output priority filter; policy accept;
        jump unserved
    }}
    chain unserved {{
        ip daddr {SERVICE_CIDR_V4} reject with icmpx port-unreachable
        ip6 daddr {SERVICE_CIDR_V6} reject with icmpx port-unreachable
    }}
}}
"""
    )


def _map(name: str, kind: str, elements: Sequence[str]) -> str:
    return f"    map {name} {{\n        type {kind}\n{_elements(elements)}    }}\n"


def _set(name: str, kind: str, elements: Sequence[str]) -> str:
    return f"    set {name} {{\n        type {kind}\n{_elements(elements)}    }}\n"


def _elements(elements: Sequence[str]) -> str:
    return f"        elements = {{ {', '.join(elements)} }}\n" if elements else ""


def _port(raw: Mapping[str, Any]) -> tuple[str, str, int]:
    return raw.get("name") or "", str(raw.get("protocol") or "TCP").lower(), int(raw["port"])
