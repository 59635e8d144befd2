# SPDX-License-Identifier: Apache-2.0
"""Can this node be measured? Every capability in three values, each that is missing with its remedy.

Probes are small functions with effects (they read /proc and /sys, open sockets, and attach a trial program that
they detach again; nothing else changes); judging and rendering are pure. A probe never raises: what it cannot
tell is UNKNOWN, with why.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson

from footprint.units import format_rate
from nodeagent.node.link import Link, LinkError, find_link
from nodeagent.settings import PreflightSettings
from nodeagent.sources.base import LossKind
from nodeagent.sources.ctnetlink.kernel import PROC, has_net_admin, read_switch, sysctl_path, tracks_connections
from nodeagent.sources.ctnetlink.socket import ConntrackSockets
from nodeagent.sources.ctnetlink.source import ACCOUNTING
from nodeagent.sources.ctnetlink.wire import Decoder
from nodeagent.sources.ebpf import preflight as ebpf
from nodeagent.sources.findings import Answer, Finding

SYS: Final = Path("/sys")


def run(
    uplink: str | None = None, *, compile_timeout: float | None = None, proc: Path = PROC, sys: Path = SYS
) -> tuple[Finding, ...]:
    """Every probe in this network namespace, in the order in which they build on each other."""
    return (
        probe_privilege(proc),
        probe_conntrack(proc),
        probe_accounting(proc),
        *probe_ctnetlink(),
        *ebpf.findings(compile_timeout=compile_timeout),
        *probe_uplink(uplink, proc=proc, sys=sys),
    )


def ready(findings: Iterable[Finding]) -> bool:
    """Whether nothing that is required is missing; what could not be told does not forbid a try."""
    return not any(found.required and found.answer is Answer.NO for found in findings)


def probe_privilege(proc: Path = PROC) -> Finding:
    name = "root or CAP_NET_ADMIN"
    held = has_net_admin(proc)
    if held is None:
        return Finding(name, Answer.UNKNOWN, "/proc does not show this thread's capabilities", "mount /proc")
    if held:
        return Finding(name, Answer.YES, "CAP_NET_ADMIN is in effect")
    return Finding(
        name, Answer.NO, f"user {os.geteuid()} without CAP_NET_ADMIN",
        "run as root, or add NET_ADMIN to securityContext.capabilities",
    )  # fmt: skip


def probe_conntrack(proc: Path = PROC) -> Finding:
    name = "conntrack in the kernel"
    if not (proc / "sys/net").is_dir():
        return Finding(name, Answer.UNKNOWN, "/proc/sys/net is not visible", "mount /proc")
    if not tracks_connections(proc):
        return Finding(name, Answer.NO, "no net.netfilter.nf_conntrack_count", "run `modprobe nf_conntrack`")
    entries = _number(sysctl_path("net.netfilter.nf_conntrack_count", proc))
    if entries == 0:
        return Finding(
            name, Answer.YES, "present, but it tracks no connection now: the kernel does so only where a rule "
            "asks for it, as kube-proxy's do",
        )  # fmt: skip
    return Finding(name, Answer.YES, f"{entries} connections tracked" if entries is not None else "present")


def probe_accounting(proc: Path = PROC) -> Finding:
    on = read_switch(ACCOUNTING, proc)
    if on is None:
        return Finding(
            "byte accounting", Answer.UNKNOWN, f"{ACCOUNTING} cannot be read", "run `modprobe nf_conntrack`"
        )
    if on:
        return Finding("byte accounting", Answer.YES, f"{ACCOUNTING}=1")
    writable = os.access(sysctl_path(ACCOUNTING, proc), os.W_OK)
    detail = f"{ACCOUNTING}=0" + (
        "; the agent switches it on when it starts" if writable else ", and it is read-only"
    )
    # Not required while the agent can do it itself.
    return Finding("byte accounting", Answer.NO, detail, f"run `sysctl -w {ACCOUNTING}=1`", required=not writable)


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
            Finding("ctnetlink dump", Answer.YES, f"{seen} entries read")
            if whole and not decoder.malformed
            else Finding("ctnetlink dump", Answer.UNKNOWN, "the dump was cut short", "run the preflight again")
        )
    except OSError as error:
        dump = _refused("ctnetlink dump", error)
    finally:
        sockets.close()
    return dump, Finding("ctnetlink events", Answer.YES, "subscribed to removed connections")


def _refused(capability: str, error: OSError) -> Finding:
    if error.errno in (errno.EPERM, errno.EACCES):
        return Finding(capability, Answer.NO, "not permitted", "run as root, or add NET_ADMIN to the container")
    if error.errno in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
        reason = f"not in this kernel ({error.strerror})"
        return Finding(capability, Answer.NO, reason, "run `modprobe nf_conntrack_netlink`")
    return Finding(capability, Answer.UNKNOWN, error.strerror or str(error), "run the preflight again as root")


def probe_uplink(uplink: str | None, *, proc: Path = PROC, sys: Path = SYS) -> tuple[Finding, Finding]:
    """The uplink (the one named, or the default route's) and whether it states its speed; neither is required."""
    named = "correct --uplink NAME, or leave it out to take the default route's"
    try:
        link = find_link(uplink, None, proc_net=proc / "net", sys_net=sys / "class/net")
    except LinkError as error:
        return Finding("uplink", Answer.NO, str(error), named, required=False), _speed(None)
    if link.interface is None:
        missing = Finding("uplink", Answer.NO, "no default route", "name it with --uplink NAME", required=False)
        return missing, _speed(None)
    shown = link.interface if uplink else f"{link.interface} (default route)"
    return Finding("uplink", Answer.YES, shown, required=False), _speed(link)


def _speed(link: Link | None) -> Finding:
    remedy = "set --link-capacity, such as 10G"
    if link is None:
        return Finding("link speed", Answer.UNKNOWN, "no uplink to ask", remedy, required=False)
    if not link.capacity.busier:
        return Finding("link speed", Answer.NO, f"{link.interface} does not state one", remedy, required=False)
    return Finding("link speed", Answer.YES, format_rate(link.capacity.busier), required=False)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def as_json(findings: Iterable[Finding]) -> dict[str, object]:
    """JSON-able: ``ready`` and every finding's fields."""
    listed = tuple(findings)
    return {"ready": ready(listed), "findings": [{**asdict(f), "answer": f.answer.value} for f in listed]}


def as_text(findings: Iterable[Finding]) -> str:
    """Aligned lines for people, the remedy beneath what is missing, and the verdict last."""
    listed = tuple(findings)
    wide = max((len(found.capability) for found in listed), default=0)
    lines = []
    for found in listed:
        answer = found.answer.value + ("" if found.required or found.answer is Answer.YES else " (not required)")
        lines.append(f"{found.capability:<{wide}}  {answer}" + (f": {found.detail}" if found.detail else ""))
        if found.remedy and found.answer is not Answer.YES:
            lines.append(f"{'':<{wide}}  remedy: {found.remedy}")
    lines.append("this node can be measured" if ready(listed) else "this node cannot be measured as it is")
    return "\n".join(lines)


def report(settings: PreflightSettings) -> int:
    """Print the findings; 0 when this node can be measured, else 1."""
    findings = run(settings.uplink, compile_timeout=settings.compile_timeout)
    if settings.output == "json":
        print(orjson.dumps(as_json(findings), option=orjson.OPT_INDENT_2).decode())
    else:
        print(as_text(findings))
    return 0 if ready(findings) else 1
