"""The sources under test, by the names of the matrix: a source, and for eBPF how it attaches.

Each may be there once per node only: the eBPF source keeps its maps and hooks under the namespace's number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from nodeagent.sources.base import FlowSource, FlowThresholds, Locality
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf import EbpfSource
from nodeagent.sources.ebpf.hooks import Mode
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.maps import Sizes

Factory = Callable[[FlowThresholds, Locality], FlowSource]


def _ebpf(mode: Mode, **sizes: int) -> Factory:
    options = Options(modes=(mode,), sizes=Sizes(**sizes))
    return lambda thresholds, locality: EbpfSource(thresholds, locality, options=options)


SOURCES: Final[Mapping[str, Factory]] = MappingProxyType({
    "ctnetlink": CtnetlinkSource,
    "ebpf-fentry": _ebpf(Mode.FENTRY),
    "ebpf-kprobe": _ebpf(Mode.KPROBE),
})  # fmt: skip

FEW: Final = 512
"""Flows that the sources of SMALL have room for."""

SMALL: Final[Mapping[str, Factory]] = MappingProxyType({
    "ctnetlink": lambda thresholds, locality: CtnetlinkSource(thresholds, locality, limit=FEW),
    "ebpf-fentry": _ebpf(Mode.FENTRY, flows=FEW),
    "ebpf-kprobe": _ebpf(Mode.KPROBE, flows=FEW),
})  # fmt: skip
"""The same sources with a flow table that is soon full."""

CAPABILITIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "ctnetlink": ("net_admin",),
    "ebpf-fentry": ("bpf", "perfmon", "net_admin", "sys_admin"),
    "ebpf-kprobe": ("bpf", "perfmon", "net_admin", "sys_admin"),
})  # fmt: skip
"""What each source needs of root's powers: eBPF's sys_admin is for opening a module's type information (fentry),
and for perf events where the distribution restricts them further than the kernel does (kprobe)."""
