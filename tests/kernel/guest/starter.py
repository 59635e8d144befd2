# SPDX-License-Identifier: Apache-2.0
"""One start of a source with a folder of kept programs, told as a line of JSON and ended.

``starter.py SOURCE FOLDER``: how it is attached, or why it is not, and how its programs were come by.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import time
from pathlib import Path
from typing import Final

import structlog

from nodeagent.sources.base import SourceUnavailable
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.problems import EbpfUnavailable
from nodeagent.sources.ebpf.source import EbpfSource
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import THRESHOLDS
from tests.kernel.guest.network import LOCALITY
from tests.kernel.guest.sources import MODES

_CODE: Final = struct.pack("=BBhi", 0x79, 0x10, 32_760, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
FAR_READ: Final = base64.b64encode(_CODE).decode()
"""r0 = *(u64 *)(r1 + 32760); exit: far beyond what any hook is given."""


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    builds.be_patient()
    name, folder = sys.argv[1:]
    options = Options(modes=(MODES[name],), pins=None, kept=Path(folder))
    source = EbpfSource(THRESHOLDS, LOCALITY, options=options)
    refused = ""
    try:
        source.open()
        source.read(time.monotonic())
    except SourceUnavailable as error:
        kind = f" [{error.problem.kind}]" if isinstance(error, EbpfUnavailable) else ""
        refused = f"{error}{kind}"
    print(json.dumps({"mode": source.mode, "refused": refused, "counts": dict(cache.counts)}), flush=True)
    source.close()


if __name__ == "__main__":
    main()
