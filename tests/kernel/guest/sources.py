# SPDX-License-Identifier: Apache-2.0
"""The sources under test by name: ctnetlink, and eBPF by each way to attach. Several may watch one node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from lab.network import netns
from nodeagent.sources.base import FlowSource, FlowThresholds, Locality
from nodeagent.sources.cgroup import CgroupSource
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource

CTNETLINK: Final = "ctnetlink"
MODES: Final[Mapping[str, Mode]] = MappingProxyType({f"ebpf-{mode}": mode for mode in Mode})
EBPF: Final = tuple(MODES)
SOURCES: Final = (CTNETLINK, *EBPF)
AT_SOCKETS: Final = CgroupSource.name
"""Not among them: it counts the whole machine's sockets, on whichever node."""

Make = Callable[[str, FlowThresholds, Locality], FlowSource]


def make(
    name: str, thresholds: FlowThresholds, locality: Locality, *, pins: Path | None = None, **sizes: int
) -> FlowSource:
    """An unopened source. Without ``pins`` nothing outlives it; of eBPF's ``sizes`` ctnetlink takes ``flows``."""
    if name == CTNETLINK:
        limit = {"limit": sizes["flows"]} if "flows" in sizes else {}
        return CtnetlinkSource(thresholds, locality, **limit)
    if name == AT_SOCKETS:
        return CgroupSource(thresholds, locality, options=Options(sizes=Sizes(**sizes), pins=pins))
    options = Options(modes=(MODES[name],), sizes=Sizes(**sizes), pins=pins)
    return EbpfSource(thresholds, locality, options=options)


@contextmanager
def opened(
    names: Iterable[str], node: str, thresholds: FlowThresholds, locality: Locality, **sizes: int
) -> Iterator[dict[str, FlowSource]]:
    """Sources that watch namespace ``node`` together, closed afterwards."""
    with ExitStack() as stack:
        made: dict[str, FlowSource] = {}
        for name in names:
            source = make(name, thresholds, locality, pins=None, **sizes)
            stack.callback(source.close)
            with netns.entered(node):
                source.open()
            made[name] = source
        yield made
