# SPDX-License-Identifier: Apache-2.0
"""Which kernel functions carry the hooks, and the offsets the program is compiled with.

Enters: BTF of the running kernel and of conntrack. Leaves: a ``Plan``. Guarantees: pure. Prototypes decide, never
version numbers: stable updates change prototypes. A function with unknown arguments is not hooked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from nodeagent.sources.ebpf.btf import Btf, BtfError
from nodeagent.sources.ebpf.btf.types import Prototype
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable


class Mode(StrEnum):
    """How a program is attached. FENTRY costs a third of KPROBE."""

    FENTRY = "fentry"
    KPROBE = "kprobe"


class Role(StrEnum):
    """The three moments of an entry's life."""

    ACCOUNT = "account"
    BIRTH = "birth"
    DEATH = "death"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function that can carry a hook, if it takes exactly these arguments."""

    role: Role
    function: str
    arguments: tuple[str, ...]
    define: str = ""
    """The macro that tells the program."""


CANDIDATES: Final = (
    Candidate(Role.ACCOUNT, "nf_ct_acct_add", ("ct", "dir", "packets", "bytes"), "ACCOUNT_BY_ADD"),
    # Its arguments changed in 6.14, and in the stable update 6.12.113.
    Candidate(
        Role.ACCOUNT, "__nf_ct_refresh_acct", ("ct", "ctinfo", "extra_jiffies", "bytes"), "ACCOUNT_BY_BYTES"
    ),
    Candidate(
        Role.ACCOUNT, "__nf_ct_refresh_acct", ("ct", "ctinfo", "skb", "extra_jiffies", "do_acct"), "ACCOUNT_BY_SKB"
    ),
    # Static, and absent where the compiler inlined it.
    Candidate(Role.BIRTH, "__nf_conntrack_hash_insert", ("ct", "hash", "reply_hash")),
    Candidate(Role.BIRTH, "__nf_conntrack_confirm", ("skb",), "BIRTH_BY_SKB"),
    # Reached by every entry that ends, those of dropped first packets included.
    Candidate(Role.DEATH, "nf_conntrack_free", ("ct",)),
    Candidate(Role.DEATH, "nf_ct_destroy", ("nfct",), "DEATH_BY_REFERENCE"),
    Candidate(Role.DEATH, "destroy_conntrack", ("nfct",), "DEATH_BY_REFERENCE"),
)
"""In the order of preference within each role."""

REQUIRED: Final = frozenset({Role.ACCOUNT, Role.DEATH})
"""Without the birth hook a flow is settled at its second packet, or at its end. Nothing is lost by that."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One function chosen."""

    role: Role
    function: str
    btf_id: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what is compiled and where it is attached."""

    mode: Mode
    module: str
    """The module whose BTF the ids belong to; empty when conntrack is built into the kernel."""
    hooks: tuple[Hook, ...]
    defines: Mapping[str, str]


def plan(kernel: Btf, module: Btf | None, *, mode: Mode, machine: str, without: Collection[str] = ()) -> Plan:
    """Choose the hooks. ``without`` are functions that turned out not to be attachable here.

    Raises EbpfUnavailable naming the missing function, argument or member.
    """
    conntrack = module if module is not None else kernel
    chosen = [_choose(role, conntrack, without) for role in Role]
    found = [pair for pair in chosen if pair is not None]
    defines = {candidate.define: "1" for candidate, _ in found if candidate.define}
    if mode is Mode.FENTRY:
        defines["DIRECT_READS"] = "1"
    try:
        defines |= {name: str(value) for name, value in _offsets(conntrack).items()}
        defines |= {f"ARGUMENT_{i}": str(at) for i, at in enumerate(_arguments(kernel, mode, machine))}
    except BtfError as error:
        raise EbpfUnavailable(EbpfProblem(Cause.UNKNOWN_LAYOUT, str(error))) from error
    hooks = tuple(Hook(candidate.role, candidate.function, proto.id) for candidate, proto in found)
    return Plan(mode, "nf_conntrack" if module is not None else "", hooks, defines)


def _choose(role: Role, conntrack: Btf, without: Collection[str]) -> tuple[Candidate, Prototype] | None:
    seen: list[str] = []
    for candidate in CANDIDATES:
        if candidate.role is not role or candidate.function in without:
            continue
        prototype = conntrack.function(candidate.function)
        if prototype is None:
            continue
        names = tuple(parameter.name for parameter in prototype.parameters)
        if names == candidate.arguments:
            return candidate, prototype
        seen.append(f"{candidate.function}({', '.join(names)})")
    if role not in REQUIRED:
        return None
    functions = dict.fromkeys(c.function for c in CANDIDATES if c.role is role)
    if seen:
        fact = f"this kernel's {' and '.join(dict.fromkeys(seen))} takes arguments that are not known"
        raise EbpfUnavailable(EbpfProblem(Cause.UNKNOWN_PROTOTYPE, fact))
    if refused := [name for name in functions if name in without]:
        fact = f"{' and '.join(refused)} cannot be attached to, and no other function serves"
        raise EbpfUnavailable(EbpfProblem(Cause.ATTACH_REFUSED, fact))
    fact = f"none of {', '.join(functions)} is among this kernel's functions"
    raise EbpfUnavailable(EbpfProblem(Cause.NO_CONNTRACK, fact))


def _offsets(conntrack: Btf) -> dict[str, int]:
    """The offsets and sizes that bpf/kernel.h needs. Raises BtfError."""

    def at(struct: str, path: str) -> int:
        return conntrack.place(struct, path).offset

    name = "nf_conntrack_tuple"
    try:
        zone = {"CT_ZONE": at("nf_conn", "zone.id")}
    except BtfError:  # a kernel without CONFIG_NF_CONNTRACK_ZONES
        zone = {}
    return zone | {
        "CT_STATUS": at("nf_conn", "status"),
        "CT_NET": at("nf_conn", "ct_net.net"),
        "CT_ORIGINAL": at("nf_conn", "tuplehash[0].tuple"),
        "CT_REPLY": at("nf_conn", "tuplehash[1].tuple"),
        "NET_INODE": at("net", "ns.inum"),
        "TUPLE_SIZE": conntrack.size(name),
        "TUPLE_SOURCE": at(name, "src.u3"),
        "TUPLE_SOURCE_PORT": at(name, "src.u"),
        "TUPLE_FAMILY": at(name, "src.l3num"),
        "TUPLE_DESTINATION": at(name, "dst.u3"),
        "TUPLE_DESTINATION_PORT": at(name, "dst.u"),
        "TUPLE_PROTOCOL": at(name, "dst.protonum"),
        "SKB_LENGTH": at("sk_buff", "len"),
        "SKB_CONNTRACK": at("sk_buff", "_nfct"),
    }


_X86_ARGUMENTS: Final = ("di", "si", "dx", "cx", "r8")
_ARGUMENTS: Final = 5


def _arguments(kernel: Btf, mode: Mode, machine: str) -> list[int]:
    """Where each argument lies in the hook's context: 64-bit slots for fentry, saved registers for kprobe."""
    if mode is Mode.FENTRY:
        return [8 * index for index in range(_ARGUMENTS)]
    if machine == "x86_64":
        return [kernel.place("pt_regs", register).offset for register in _X86_ARGUMENTS]
    if machine == "aarch64":
        return [kernel.place("pt_regs", f"regs[{index}]").offset for index in range(_ARGUMENTS)]
    raise EbpfUnavailable(EbpfProblem(Cause.NOT_PORTED, f"kprobe arguments on {machine} are not known"))
