# SPDX-License-Identifier: Apache-2.0
"""Switching a sysctl on: where a process may write its own /proc/sys, and where only a mount of the node's."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.sources.ctnetlink.kernel import enable

NAME = "net.netfilter.nf_conntrack_acct"


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A process's /proc without sysctls, and the node's /proc/sys/net, accounting off."""
    own, node = tmp_path / "proc", tmp_path / "node"
    (own / "sys" / "net" / "netfilter").mkdir(parents=True)
    (node / "netfilter").mkdir(parents=True)
    (node / "netfilter" / "nf_conntrack_acct").write_text("0\n")
    return own, node


def test_a_switch_of_its_own_is_set_and_the_nodes_left_alone(trees: tuple[Path, Path]) -> None:
    own, node = trees
    switch = own / "sys" / "net" / "netfilter" / "nf_conntrack_acct"
    switch.write_text("0")
    assert enable(NAME, own, node) == (False, "")
    assert switch.read_text() == "1"
    assert (node / "netfilter" / "nf_conntrack_acct").read_text() == "0\n"
    assert enable(NAME, own, node) == (True, ""), "the second time it was on already"


def test_where_its_own_cannot_be_written_the_nodes_is(trees: tuple[Path, Path]) -> None:
    own, node = trees
    switch = own / "sys" / "net" / "netfilter" / "nf_conntrack_acct"
    switch.mkdir()  # opening it fails even for root
    assert enable(NAME, own, node) == (False, "")
    assert (node / "netfilter" / "nf_conntrack_acct").read_text().startswith("1")


def test_where_neither_can_be_written_the_reason_is_its_own(trees: tuple[Path, Path], tmp_path: Path) -> None:
    own, _ = trees
    (own / "sys" / "net" / "netfilter" / "nf_conntrack_acct").mkdir()
    assert enable(NAME, own, tmp_path / "nothing mounted") == (False, "Is a directory")
    assert not (tmp_path / "nothing mounted").exists()
