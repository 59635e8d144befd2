"""A source in a process of its own, to be killed: each line on standard input asks for a reading.

Answers are lines of JSON: epoch, and per owner sent and received bytes; the owners of the elephants. The end of
the input closes the source. A source that cannot run answers once, with its reason, and that is all.
"""

from __future__ import annotations

import json
import sys
import time

import structlog

from nodeagent.sources.base import SourceUnavailable
from tests.kernel.guest.measuring import THRESHOLDS
from tests.kernel.guest.network import LOCALITY
from tests.kernel.guest.sources import SOURCES


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    source = SOURCES[sys.argv[1]](THRESHOLDS, LOCALITY)
    try:
        source.open()
    except SourceUnavailable as refusal:
        print(json.dumps({"refused": str(refusal)}), flush=True)
        return
    try:
        for _ in sys.stdin:
            reading = source.read(time.monotonic())
            answer = {
                "epoch": reading.epoch,
                "owners": {uid: [owner.tx_bytes, owner.rx_bytes] for uid, owner in reading.owners.items()},
                "elephants": [elephant.owners[0] for elephant in reading.elephants],
            }
            print(json.dumps(answer), flush=True)
    finally:
        source.close()


if __name__ == "__main__":
    main()
