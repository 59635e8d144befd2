# SPDX-License-Identifier: Apache-2.0
"""The offsets of a program at sockets."""

from __future__ import annotations

import re

import pytest

from nodeagent.sources.ebpf.btf.kernel import DIRECTORY, VMLINUX, load_kernel
from nodeagent.sources.ebpf.compiling import sockets
from nodeagent.sources.ebpf.compiling.build import sources
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.problems import Cause, EbpfUnavailable
from tests.nodeagent.sources.ebpf.kernels import kernel


def test_every_macro_that_the_program_lists_is_given() -> None:
    text = (sources() / "cgroup.bpf.c").read_text()
    named = set(re.findall(r"\bSOCK_[A-Z0-9_]+\b", text))
    assert named == set(sockets.OFFSETS)


def test_a_kernel_without_such_a_member_is_refused_by_its_name() -> None:
    with pytest.raises(EbpfUnavailable, match="sock_common") as refusal:
        sockets.plan(kernel(), mode=Mode.FENTRY)
    assert refusal.value.problem.kind is Cause.UNKNOWN_LAYOUT


@pytest.mark.skipif(not (DIRECTORY / VMLINUX).exists(), reason="this kernel publishes no BTF")
def test_this_kernel_has_them_all() -> None:
    found = sockets.plan(load_kernel(), mode=Mode.FENTRY)
    assert (found.module, found.hooks) == ("", ())
    assert found.defines.keys() == sockets.OFFSETS.keys()
    assert len(set(found.defines.values())) == len(found.defines)
