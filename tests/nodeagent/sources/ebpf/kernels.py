# SPDX-License-Identifier: Apache-2.0
"""BTF of kernels that differ in what matters: which functions there are, and what they take."""

from __future__ import annotations

from collections.abc import Iterable

from nodeagent.sources.ebpf.btf import Btf
from tests.nodeagent.sources.ebpf.btf.blobs import PTR, UNION, Writer

ADD = ("nf_ct_acct_add", ("ct", "dir", "packets", "bytes"))
REFRESH_BYTES = ("__nf_ct_refresh_acct", ("ct", "ctinfo", "extra_jiffies", "bytes"))
REFRESH_SKB = ("__nf_ct_refresh_acct", ("ct", "ctinfo", "skb", "extra_jiffies", "do_acct"))
INSERT = ("__nf_conntrack_hash_insert", ("ct", "hash", "reply_hash"))
CONFIRM = ("__nf_conntrack_confirm", ("skb",))
FREE = ("nf_conntrack_free", ("ct",))
DESTROY = ("nf_ct_destroy", ("nfct",))
OLD_DESTROY = ("destroy_conntrack", ("nfct",))
USUAL = (ADD, REFRESH_BYTES, INSERT, CONFIRM, FREE, DESTROY)

Function = tuple[str, tuple[str, ...]]


def kernel(functions: Iterable[Function] = USUAL, *, without: str = "", machine: str = "x86_64") -> Btf:
    """A kernel with conntrack built in. ``without`` names a struct that it lacks."""
    writer = Writer()
    byte, half, word, long = (writer.integer(n, s) for n, s in (("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)))
    address = writer.record("nf_inet_addr", 16, ("all", writer.array(word, 4), 0), kind=UNION)
    source = writer.record("nf_conntrack_man", 20, ("u3", address, 0), ("u", half, 128), ("l3num", half, 144))
    target = writer.record(
        "", 20, ("u3", address, 0), ("u", half, 128), ("protonum", byte, 144), ("dir", byte, 152)
    )
    names = {
        "nf_conntrack_tuple": (40, (("src", source, 0), ("dst", target, 160))),
        "net": (512, (("ns", writer.record("ns_common", 24, ("inum", word, 128)), 1024),)),
        "sk_buff": (232, (("_nfct", long, 832), ("len", word, 896))),
    }
    ids = {name: writer.record(name, size, *members) for name, (size, members) in names.items() if name != without}
    if "nf_conntrack_tuple" in ids:
        entry = writer.record("nf_conntrack_tuple_hash", 56, ("tuple", ids["nf_conntrack_tuple"], 128))
        owner = writer.record("", 8, ("net", writer.add(PTR, "", ids.get("net", 0)), 0))
        members = (("tuplehash", writer.array(entry, 2), 128), ("status", long, 1024), ("ct_net", owner, 1088))
        if without != "nf_conn":
            writer.record("nf_conn", 256, *members)
    if machine == "x86_64":
        registers = (("di", long, 896), ("si", long, 832), ("dx", long, 768), ("cx", long, 704), ("r8", long, 576))
        writer.record("pt_regs", 168, *registers)
    else:
        writer.record("pt_regs", 336, ("regs", writer.array(long, 31), 0))
    for name, parameters in functions:
        writer.function(name, *((parameter, long) for parameter in parameters))
    return Btf(writer.blob())
