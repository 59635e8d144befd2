# SPDX-License-Identifier: Apache-2.0
"""What ctnetlink finds here, capability by capability: privilege, conntrack, byte accounting, dump and events.

Effects: reads /proc, opens netlink sockets; changes nothing. Guarantees: a probe never raises. What it cannot tell
is UNKNOWN, with why.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nodeagent.sources.base import LossKind
from nodeagent.sources.ctnetlink.kernel import (
    NODE_SYSCTLS,
    PROC,
    has_net_admin,
    read_switch,
    sysctl_path,
    tracks_connections,
    writable_paths,
)
from nodeagent.sources.ctnetlink.socket import ConntrackSockets
from nodeagent.sources.ctnetlink.source import ACCOUNTING
from nodeagent.sources.ctnetlink.wire import Decoder
from nodeagent.sources.findings import Finding, Presence

BYTE_ACCOUNTING: Final = "byte accounting"
"""Name of the capability that eBPF does without."""


def findings(proc: Path = PROC) -> tuple[Finding, ...]:
    """In the order in which they build on each other."""
    return (probe_privilege(proc), probe_conntrack(proc), probe_accounting(proc), *probe_ctnetlink())


def probe_privilege(proc: Path = PROC) -> Finding:
    name = "root or CAP_NET_ADMIN"
    held = has_net_admin(proc)
    if held is None:
        return Finding(name, Presence.UNKNOWN, "/proc does not show this thread's capabilities", "mount /proc")
    if held:
        return Finding(name, Presence.YES, "CAP_NET_ADMIN is in effect")
    return Finding(
        name, Presence.NO, f"user {os.geteuid()} without CAP_NET_ADMIN",
        "run as root, or add NET_ADMIN to securityContext.capabilities",
    )  # fmt: skip


def probe_conntrack(proc: Path = PROC) -> Finding:
    name = "conntrack in the kernel"
    if not (proc / "sys/net").is_dir():
        return Finding(name, Presence.UNKNOWN, "/proc/sys/net is not visible", "mount /proc")
    if not tracks_connections(proc):
        return Finding(name, Presence.NO, "no net.netfilter.nf_conntrack_count", "run `modprobe nf_conntrack`")
    entries = _number(sysctl_path("net.netfilter.nf_conntrack_count", proc))
    if entries == 0:
        return Finding(
            name, Presence.YES, "present, but it tracks no connection now: the kernel does so only where a rule "
            "asks for it, as kube-proxy's do",
        )  # fmt: skip
    return Finding(name, Presence.YES, f"{entries} connections tracked" if entries is not None else "present")


def probe_accounting(proc: Path = PROC, node: Path = NODE_SYSCTLS) -> Finding:
    """``node``: where a pod has the node's own switches, which it may set though /proc is read-only there."""
    on = read_switch(ACCOUNTING, proc)
    if on is None:
        return Finding(
            BYTE_ACCOUNTING, Presence.UNKNOWN, f"{ACCOUNTING} cannot be read", "run `modprobe nf_conntrack`"
        )
    if on:
        return Finding(BYTE_ACCOUNTING, Presence.YES, f"{ACCOUNTING}=1")
    writable = any(os.access(path, os.W_OK) for path in writable_paths(ACCOUNTING, proc, node))
    detail = f"{ACCOUNTING}=0" + (
        "; the agent switches it on when it starts" if writable else ", and it is read-only"
    )
    # Not required while the agent can do it itself.
    return Finding(BYTE_ACCOUNTING, Presence.NO, detail, f"run `sysctl -w {ACCOUNTING}=1`", required=not writable)


def probe_ctnetlink() -> tuple[Finding, Finding]:
    """Whether the table can be dumped and removals be heard of."""
    lost: Counter[LossKind] = Counter()
    decoder, seen = Decoder(), 0

    def count(samples: Sequence[object]) -> None:
        nonlocal seen
        seen += len(samples)

    try:
        sockets = ConntrackSockets(decoder, lost)
    except OSError as error:
        return _refused("ctnetlink dump", error), _refused("ctnetlink events", error)
    try:
        whole = sockets.dump(count)
        dump = (
            Finding("ctnetlink dump", Presence.YES, f"{seen} entries read")
            if whole and not decoder.malformed
            else Finding("ctnetlink dump", Presence.UNKNOWN, "the dump was cut short", "run the preflight again")
        )
    except OSError as error:
        dump = _refused("ctnetlink dump", error)
    finally:
        sockets.close()
    return dump, Finding("ctnetlink events", Presence.YES, "subscribed to removed connections")


def _refused(capability: str, error: OSError) -> Finding:
    if error.errno in (errno.EPERM, errno.EACCES):
        return Finding(capability, Presence.NO, "not permitted", "run as root, or add NET_ADMIN to the container")
    if error.errno in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
        reason = f"not in this kernel ({error.strerror})"
        return Finding(capability, Presence.NO, reason, "run `modprobe nf_conntrack_netlink`")
    return Finding(capability, Presence.UNKNOWN, error.strerror or str(error), "run the preflight again as root")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
