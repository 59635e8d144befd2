# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom: what a NetworkPolicy of the cluster's lets pass, asked by pods' own connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import eventually
from tests.node.support.workloads import running

_PATIENCE: Final = 90.0
"""Seconds until a plugin has written new rules on a busy machine: it does so at its next turns."""


def reaches(lab: RealLab, client: str, address: str, port: int, namespace: str = "default") -> bool:
    """Whether a connection of a pod's is accepted there, at the first try."""
    tried = f"timeout 10 nc -w 2 {address} {port} </dev/null >/dev/null 2>&1 && echo reached || echo not"
    return lab.kubectl("-n", namespace, "exec", client, "--", "sh", "-c", tried).strip() == "reached"


def eventually_reaches(
    lab: RealLab, client: str, address: str, port: int, *, namespace: str = "default", expected: bool = True
) -> None:
    """Wait until it is so: a plugin writes its rules a moment after it was told."""
    eventually(
        f"{client} {'reaches' if expected else 'does not reach'} [{address}]:{port}",
        lambda: reaches(lab, client, address, port, namespace) is expected,
        _PATIENCE,
    )


@contextmanager
def only_from(lab: RealLab, target: str, client: str) -> Iterator[None]:
    """Pods labelled ``app: target`` take connections from those labelled ``app: client`` alone."""
    policy: Mapping[str, Any] = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": f"{target}-from-{client}"},
        "spec": {
            "podSelector": {"matchLabels": {"app": target}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": client}}}]}],
        },
    }  # fmt: skip
    with running(lab, policy):
        yield
