# SPDX-License-Identifier: Apache-2.0
"""Which flow source measures on this node: the one named, or the first that can run.

Enters: ``auto`` or a source's name. Leaves: an opened source. Guarantees: the log names every source that cannot
run, with its reason. So does the error when none can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import structlog

from nodeagent.sources.base import FlowSource, FlowThresholds, Locality, SourceUnavailable
from nodeagent.sources.cgroup import CgroupSource, root
from nodeagent.sources.cgroup import loader as cgroup_loader
from nodeagent.sources.cgroup.source import at_sockets
from nodeagent.sources.changing import ChangingSource
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource

AUTO: Final = "auto"

Factory = Callable[[FlowThresholds, Locality], FlowSource]

SOURCES: Final[Mapping[str, Factory]] = MappingProxyType(
    {EbpfSource.name: EbpfSource, CtnetlinkSource.name: CtnetlinkSource, CgroupSource.name: CgroupSource}
)
"""In order of preference: the kernel's own sums before a dump of all its connections. Conntrack sees forwarded
traffic too, so counting at sockets comes last."""

_log = structlog.get_logger(__name__)


def choices() -> tuple[str, ...]:
    """What ``choose`` accepts."""
    return (AUTO, *SOURCES)


def choose(
    source: str,
    thresholds: FlowThresholds | None = None,
    locality: Locality | None = None,
    *,
    sources: Mapping[str, Factory] = SOURCES,
) -> FlowSource:
    """An opened source: the one named, or with ``auto`` the first that opens.

    Raises SourceUnavailable with every reason and remedy when none does, ValueError for a name not known.
    """
    if source != AUTO and source not in sources:
        raise ValueError(f"{source!r} is not a flow source; use {', '.join((AUTO, *sources))}")
    refusals: list[str] = []
    for name in sources if source == AUTO else (source,):
        candidate = sources[name](thresholds or FlowThresholds(), locality or Locality())
        try:
            candidate.open()
        except SourceUnavailable as refusal:
            candidate.close()
            refusals.append(str(refusal))
            _log.warning("flow source cannot run here", source=name, reason=str(refusal))
            continue
        _log.info("flow source chosen", source=name, passed_over=len(refusals))
        return candidate
    raise SourceUnavailable("; or ".join(refusals))


def open_source(
    source: str,
    thresholds: FlowThresholds,
    *,
    compile_timeout: float | None = None,
    outlive: bool = False,
    cgroup: Path | None = None,
) -> FlowSource:
    """``choose`` with this machine's sources. Raises SourceUnavailable.

    ``outlive``: a program may outlive the process. What a predecessor left is taken over then, or unloaded when
    another source measures. Otherwise a predecessor's program is left alone. ``compile_timeout``: seconds.
    ``cgroup``: whose sockets are counted, where sockets are (None: the machine's root).
    """
    options = Options(compile_timeout=compile_timeout)
    if not outlive:
        options = replace(options, pins=None)
    sources = with_options(options, cgroup)
    opened = choose(
        source, thresholds, sources=_begun_with(sources, options, cgroup) if source == AUTO else sources
    )
    if outlive:
        _disown_others(opened, options)
    if source == AUTO and not isinstance(opened, CgroupSource):
        return changing(opened, sources, thresholds)
    return opened


def changing(used: FlowSource, sources: Mapping[str, Factory], thresholds: FlowThresholds) -> ChangingSource:
    """``used``, changed for the source at sockets where it sees too little."""
    like = CtnetlinkSource.name if isinstance(used, CtnetlinkSource) else EbpfSource.name
    return ChangingSource(
        used,
        lambda: sources[CgroupSource.name](thresholds, Locality()),
        lambda: sources[like](thresholds, Locality()),
    )


def _begun_with(sources: Mapping[str, Factory], options: Options, cgroup: Path | None) -> Mapping[str, Factory]:
    """The sources in the order in which they are tried. A predecessor that changed to sockets had its reasons: its
    program is taken over, and loses nothing."""
    try:
        left = cgroup_loader.running(at_sockets(options), root.find(cgroup))
    except SourceUnavailable:
        left = False
    first = CgroupSource.name
    return {first: sources[first], **sources} if left else sources


def _disown_others(opened: FlowSource, options: Options) -> None:
    """Unload what a predecessor left, unless ``opened`` has taken it over."""
    at_sockets = isinstance(opened, CgroupSource)
    if at_sockets or not opened.pinned:
        loader.disown(options)
    if not at_sockets or not opened.pinned:
        cgroup_loader.disown(options)


def with_options(options: Options, cgroup: Path | None = None) -> dict[str, Factory]:
    """The sources, eBPF with these options."""
    made: dict[str, Factory] = {
        EbpfSource.name: partial(EbpfSource, options=options),
        CgroupSource.name: partial(CgroupSource, options=options, cgroup=cgroup),
    }
    return {name: made.get(name, factory) for name, factory in SOURCES.items()}
