# SPDX-License-Identifier: Apache-2.0
"""Can this node be measured? Every capability in three values, each that is missing with its remedy.

Probes are small functions with effects: they read /proc and /sys, open sockets, and attach a trial program that
they detach again, unless an agent measures here. Judging and rendering are pure. A probe never raises: what it
cannot tell is UNKNOWN, with why. ``preflight`` in each source's folder has that source's probes. This module joins
them with the link's, and judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import orjson

from footprint.keys import NODE_LINK_CAPACITY
from footprint.units import format_rate
from nodeagent.node.link import Link, LinkError, find_link
from nodeagent.node.steering import described, read_steering
from nodeagent.node.uplinks.finding import find_uplinks, named
from nodeagent.settings import PreflightSettings
from nodeagent.sources.cgroup import CgroupSource
from nodeagent.sources.cgroup import preflight as cgroup_preflight
from nodeagent.sources.ctnetlink import preflight as ctnetlink
from nodeagent.sources.ctnetlink.kernel import PROC
from nodeagent.sources.ebpf import preflight as ebpf
from nodeagent.sources.findings import Finding, Presence
from nodeagent.sources.select import AUTO

SYS: Final = Path("/sys")


def run(
    uplink: str | None = None,
    *,
    compile_timeout: float | None = None,
    cgroup: Path | None = None,
    proc: Path = PROC,
    sys: Path = SYS,
) -> tuple[Finding, ...]:
    """Every probe in this network namespace, in the order in which they build on each other."""
    by_ebpf = ebpf.findings(compile_timeout=compile_timeout)
    return (
        *needed(ctnetlink.findings(proc), by_ebpf),
        *by_ebpf,
        *cgroup_preflight.findings(cgroup, compile_timeout=compile_timeout),
        *probe_uplink(uplink, proc=proc, sys=sys),
        probe_steering(uplink),
    )


def needed(by_ctnetlink: Iterable[Finding], by_ebpf: Iterable[Finding]) -> tuple[Finding, ...]:
    """ctnetlink's findings; byte accounting is not required where eBPF counts by itself."""
    without = ebpf.measures(by_ebpf)
    return tuple(
        replace(finding, required=False, detail=f"{finding.detail}; eBPF does without it")
        if without and finding.capability == ctnetlink.BYTE_ACCOUNTING and finding.answer is not Presence.YES
        else finding
        for finding in by_ctnetlink
    )


def ready(findings: Iterable[Finding]) -> bool:
    """Whether nothing that is required is missing. An UNKNOWN answer does not forbid a try."""
    return not any(found.required and found.answer is Presence.NO for found in findings)


def probe_uplink(uplink: str | None, *, proc: Path = PROC, sys: Path = SYS) -> tuple[Finding, Finding]:
    """The uplinks (those named, or the default route's and others that routes use) and whether it states its
    speed; neither is required."""
    wrong = "correct --uplink NAME, or leave it out to take those that the kernel's routes use"
    names = named(uplink)
    try:
        link, *_ = [
            find_link(name, None, proc_net=proc / "net", sys_net=sys / "class/net") for name in names or (None,)
        ]
    except LinkError as error:
        return Finding("uplink", Presence.NO, str(error), wrong, required=False), _speed(None)
    if link.interface is None:
        missing = Finding("uplink", Presence.NO, "no default route", "name it with --uplink NAME", required=False)
        return missing, _speed(None)
    shown = ", ".join(names or (f"{link.interface} (default route)", *_others(link.interface, proc)))
    return Finding("uplink", Presence.YES, shown, required=False), _speed(link)


def _others(interface: str, proc: Path) -> list[str]:
    """Further uplinks that the kernel's routes use; none where only files of another machine are looked at."""
    try:
        found = find_uplinks(None, None).all if proc == PROC else ()
    except (OSError, LinkError):
        return []
    return [link.interface for link in found if link.interface and link.interface != interface]


def probe_steering(uplink: str | None) -> Finding:
    """Whether programs at the pods' devices and the uplinks may send packets past conntrack; not required."""
    capability = "packets pass conntrack"
    try:
        found = find_uplinks(uplink, None).all
        said = described(read_steering(link.interface for link in found if link.interface))
    except (OSError, LinkError) as error:
        return Finding(capability, Presence.UNKNOWN, str(error), "run the preflight again", required=False)
    if not said:
        return Finding(
            capability, Presence.YES, "no program is at the pods' devices or the uplinks", required=False
        )
    remedy = f"nothing: `--source {AUTO}` changes to {CgroupSource.name} when the coverage shows that they do not"
    return Finding(capability, Presence.UNKNOWN, said, remedy, required=False)


def _speed(link: Link | None) -> Finding:
    remedy = (
        f"state it with --link-capacity, such as 10G, or with the Node's annotation {NODE_LINK_CAPACITY}; "
        "else it is learned when the link is full"
    )
    if link is None:
        return Finding("link speed", Presence.UNKNOWN, "the uplink is unknown", remedy, required=False)
    if not link.capacity.busier:
        return Finding(
            "link speed", Presence.NO, f"{link.interface} states none that can be believed", remedy, required=False
        )
    return Finding("link speed", Presence.YES, format_rate(link.capacity.busier), required=False)


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
        answer = found.answer.value + ("" if found.required or found.answer is Presence.YES else " (not required)")
        lines.append(f"{found.capability:<{wide}}  {answer}" + (f": {found.detail}" if found.detail else ""))
        if found.remedy and found.answer is not Presence.YES:
            lines.append(f"{'':<{wide}}  remedy: {found.remedy}")
    lines.append("this node can be measured" if ready(listed) else "this node cannot be measured as it is")
    return "\n".join(lines)


def report(settings: PreflightSettings) -> int:
    """Print the findings; 0 when this node can be measured, else 1."""
    findings = run(settings.uplink, compile_timeout=settings.compile_timeout, cgroup=settings.cgroup_root)
    if settings.output == "json":
        print(orjson.dumps(as_json(findings), option=orjson.OPT_INDENT_2).decode())
    else:
        print(as_text(findings))
    return 0 if ready(findings) else 1
