# SPDX-License-Identifier: Apache-2.0
"""Which capabilities let a source begin: each set is tried by a child of its own, as root without the others.

``powers.py SOURCE SET ...``, a set being names joined by commas, such as ``bpf,perfmon``. Prints one line of JSON:
by set, the refusal, or an empty text where the source began.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable
from typing import Final

import structlog

from nodeagent.sources.base import SourceUnavailable
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import THRESHOLDS
from tests.kernel.guest.network import LOCALITY
from tests.kernel.guest.sources import make

NUMBERS: Final = {"net_admin": 12, "sys_admin": 21, "perfmon": 38, "bpf": 39}
_VERSION_3: Final = 0x20080522
_libc: Final = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    builds.remember()
    source, *sets = sys.argv[1:]
    print(json.dumps({names: _tried(source, names.split(",") if names else []) for names in sets}))


def keep(names: Iterable[str]) -> None:
    """Give up every capability but these, for good."""
    held = sum(1 << NUMBERS[name] for name in names)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = held & 0xFFFF_FFFF, held >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable, twice
    if _libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def _tried(source: str, names: Iterable[str]) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.write(writing, _begin(source, names).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return said if not status else f"the trial ended with status {status}"


def _begin(source: str, names: Iterable[str]) -> str:
    made = make(source, THRESHOLDS, LOCALITY)
    keep(names)
    try:
        made.open()
    except SourceUnavailable as refusal:
        return str(refusal)
    made.close()
    return ""


if __name__ == "__main__":
    main()
