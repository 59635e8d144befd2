# SPDX-License-Identifier: Apache-2.0
"""The control plane's command lines: what changes where nodes run kubelets."""

from __future__ import annotations

from pathlib import Path

from lab.controlplane import commands
from lab.controlplane.pki import KUBELET_CLIENT, Pki

PKI = Pki(Path("/pki"))


def flags(*, kubelets: bool) -> dict[str, str]:
    """kube-apiserver's flags by name. One that is given twice fails the test."""
    pairs = [flag.partition("=") for flag in commands.apiserver(Path("x"), PKI, kubelets=kubelets)[1:]]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def test_kubelets_are_held_to_their_own_objects_and_can_be_asked() -> None:
    given = flags(kubelets=True)
    assert given["--authorization-mode"] == "Node,RBAC"
    assert given["--enable-admission-plugins"] == "NodeRestriction"
    assert given["--kubelet-client-certificate"] == str(PKI.certificate(KUBELET_CLIENT))
    assert given["--kubelet-client-key"] == str(PKI.key(KUBELET_CLIENT))


def test_without_kubelets_nothing_of_them_is_asked_for() -> None:
    given = flags(kubelets=False)
    assert given["--authorization-mode"] == "RBAC"
    assert not [name for name in given if name.startswith("--kubelet")]
    assert set(given) < set(flags(kubelets=True))
