# SPDX-License-Identifier: Apache-2.0
"""The offsets of a program that counts at sockets: where a TCP socket keeps its two ends.

Enters: BTF of the running kernel. Leaves: a ``Plan`` without hooks, for no function is hooked. Guarantees: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from nodeagent.sources.ebpf.btf import Btf, BtfError
from nodeagent.sources.ebpf.compiling.hooks import Mode, Plan
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable

OFFSETS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "SOCK_FAMILY": ("sock_common", "skc_family"),
        "SOCK_LOCAL": ("sock_common", "skc_rcv_saddr"),
        "SOCK_REMOTE": ("sock_common", "skc_daddr"),
        "SOCK_LOCAL_V6": ("sock_common", "skc_v6_rcv_saddr"),
        "SOCK_REMOTE_V6": ("sock_common", "skc_v6_daddr"),
        "SOCK_REMOTE_PORT": ("sock_common", "skc_dport"),
        # skc_num is 0 already when the tracepoint tells of the end.
        "SOCK_LOCAL_PORT": ("inet_sock", "inet_sport"),
        "SOCK_PROTOCOL": ("sock", "sk_protocol"),
    }
)
"""Macro → struct and member. All begin at the socket's address: each struct is the first member of the next."""


def plan(kernel: Btf, *, mode: Mode) -> Plan:
    """What cgroup.bpf.c is compiled with. Raises EbpfUnavailable naming the missing member."""
    try:
        defines = {name: str(kernel.place(*at).offset) for name, at in OFFSETS.items()}
    except BtfError as error:
        raise EbpfUnavailable(EbpfProblem(Cause.UNKNOWN_LAYOUT, str(error))) from error
    return Plan(mode, "", (), defines)
