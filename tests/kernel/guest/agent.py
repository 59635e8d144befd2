# SPDX-License-Identifier: Apache-2.0
"""A source in a process of its own, to be killed: each line on standard input asks for a reading.

``agent.py SOURCE [--OPTION VALUE ...]``; it pins what the agent pins. Answers are lines of JSON, see ``_answer``.
The end of the input closes the source. A source that cannot run answers once, with its reason, and that is all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from nodeagent.sources.base import FlowSource, SourceUnavailable
from nodeagent.sources.ebpf.kernel import pins
from nodeagent.sources.ebpf.source import EbpfSource
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import LENIENT
from tests.kernel.guest.network import LOCALITY
from tests.kernel.guest.sources import AT_SOCKETS, SOURCES, make


def main(arguments: Sequence[str] | None = None) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    builds.remember()
    parser = argparse.ArgumentParser()
    parser.add_argument("source", choices=(*SOURCES, AT_SOCKETS))
    parser.add_argument("--elephant-rate", type=float, default=LENIENT.elephant_rate)
    parser.add_argument("--flows", type=int, help="size of the flow table")
    parser.add_argument("--keep", action="store_true", help="end as one that another agent follows")
    options = parser.parse_args(arguments)
    sizes = {"flows": options.flows} if options.flows else {}
    thresholds = replace(LENIENT, elephant_rate=options.elephant_rate)
    source = make(options.source, thresholds, LOCALITY, pins=pins.ROOT, **sizes)
    if options.keep and isinstance(source, EbpfSource):
        source.keep = True
    try:
        source.open()
    except SourceUnavailable as refusal:
        print(json.dumps({"refused": str(refusal)}), flush=True)
        return
    try:
        for _ in sys.stdin:
            print(json.dumps(_answer(source)), flush=True)
    finally:
        source.close()


def _answer(source: FlowSource) -> dict[str, Any]:
    reading = source.read(time.monotonic())
    return {
        "epoch": reading.epoch,
        "mode": source.mode if isinstance(source, EbpfSource) else "",
        "adopted": isinstance(source, EbpfSource) and source.adopted,
        "owners": {uid: [owner.tx_bytes, owner.rx_bytes] for uid, owner in reading.owners.items()},
        "born": sum(owner.flows_born for owner in reading.owners.values()),
        "elephants": [[elephant.owners[0], elephant.since] for elephant in reading.elephants],
        "lost": dict(reading.lost),
    }


if __name__ == "__main__":
    main()
