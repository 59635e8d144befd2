# SPDX-License-Identifier: Apache-2.0
"""One start of the agent's measuring on a machine that lacks something, told as a line of JSON and ended.

``trial.py [--compile] [--flows N] [--refused]``: what the preflight finds of eBPF, by capability; which source
the agent takes (empty: none), and why it passed others over.
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from nodeagent.sources.base import FlowSource, SourceUnavailable
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf import preflight
from nodeagent.sources.ebpf.compiling.build import Build
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource
from nodeagent.sources.select import AUTO, Factory, choose
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import THRESHOLDS
from tests.kernel.guest.network import LOCALITY

_FAR_READ: Final = struct.pack("=BBhi", 0x79, 0x10, 32_760, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
"""r0 = *(u64 *)(r1 + 32760); exit: far beyond what any hook is given."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--compile", action="store_true", help="whatever was compiled before")
    parser.add_argument("--flows", type=int, default=Sizes().flows)
    parser.add_argument("--refused", action="store_true", help="hand the kernel a program that it cannot accept")
    asked = parser.parse_args()
    if asked.compile:
        builds.be_patient()
    else:
        builds.remember(_refused if asked.refused else lambda made: made)
    sizes = Sizes(flows=asked.flows)
    trial = preflight.TRIAL if asked.flows == Sizes().flows else sizes
    findings = {
        found.capability: [found.answer, found.detail, found.remedy] for found in preflight.findings(trial)
    }
    sources: dict[str, Factory] = {
        EbpfSource.name: partial(EbpfSource, options=Options(sizes=sizes, pins=None)),
        CtnetlinkSource.name: CtnetlinkSource,
    }
    with structlog.testing.capture_logs() as logged:
        try:
            source: FlowSource | None = choose(AUTO, THRESHOLDS, LOCALITY, sources=sources)
        except SourceUnavailable:
            source = None
    told = {
        "findings": findings,
        "chosen": source.name if source else "",
        "passed over": [str(entry["reason"]) for entry in logged if "reason" in entry],
    }
    print(json.dumps(told), flush=True)
    if source is not None:
        source.read(time.monotonic())
        source.close()


def _refused(made: Build) -> Build:
    return replace(made, code=dict.fromkeys(made.code, _FAR_READ))


if __name__ == "__main__":
    main()
