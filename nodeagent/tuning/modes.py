# SPDX-License-Identifier: Apache-2.0
"""How far tuning may go, what it is set to, and the named reasons for which it does nothing. Values only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BULK: Final = "0:2"
"""TC_PRIO_BULK of the kernel, as nftables writes it: the band of pfifo_fast and prio that is served last."""
DEFAULT_MARK: Final = 0x2000
"""Bit 13. Istio's ambient mode uses the bits below 12, AWS's CNI plugin bit 7, kube-proxy bits 14 and 15, Calico
those from 16 on."""
MARKS_A_SECOND: Final = 50
MOST_MARKED: Final = 1024
"""Connections marked at once. The fastest elephants come first."""
MOST_ZONES: Final = 8
"""Entries of one flow; a connection may cross as many conntrack zones."""
_HANDLE: Final = re.compile(r"([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})")


class Mode(StrEnum):
    """Of one part of the tuning."""

    OFF = "off"
    ADVISE = "advise"
    APPLY = "apply"


class Refusal(StrEnum):
    """Why a part does nothing although it is switched on."""

    MARK_IN_USE = "mark-in-use"  # connections that this agent did not mark carry the bit
    TABLE_EXISTS = "table-exists"  # somebody else's table has our name
    NO_NFT = "no-nft"  # the program is not there
    RULES_REFUSED = "rules-refused"  # the kernel or nft refused the rules
    NO_CONNTRACK = "no-conntrack"  # the kernel does not answer about connections
    NO_JOURNAL = "no-journal"  # what is applied could not be undone after a crash
    HELD = "held"  # another agent of this network namespace holds the journal


class TuningRefusedError(Exception):
    """The part cannot go on. The message says what happened and what helps."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class PriorityOptions:
    """Of the part that lets mice pass elephants on the way out."""

    mode: Mode = Mode.OFF
    mark: int = DEFAULT_MARK
    """One bit of the connection mark."""
    priority: str = BULK
    """What elephants' packets get, as ``MAJOR:MINOR`` in hexadecimal digits."""
    lower_effort: bool = False
    """Set the DSCP of RFC 8622 as well."""
    marks_a_second: float = MARKS_A_SECOND


def parse_mark(text: str) -> int:
    """The number of ``0x2000`` or ``8192``. Raises ValueError unless it is exactly one of 32 bits."""
    try:
        value = int(text.strip(), 0)
    except ValueError:
        value = 0
    if not 0 < value < 2**32 or value & (value - 1):
        raise ValueError(f"{text[:40]!r} is not one bit of a 32-bit mark; write one such as 0x2000")
    return value


def parse_priority(text: str) -> str:
    """The class as nftables writes it; ``bulk`` is the kernel's TC_PRIO_BULK. Raises ValueError."""
    if text.strip().lower() == "bulk":
        return BULK
    match = _HANDLE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is no priority; write bulk, or a class such as 1:30")
    return f"{int(match[1], 16):x}:{int(match[2], 16):x}"
