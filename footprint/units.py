# SPDX-License-Identifier: Apache-2.0
"""Rates and their spellings. Pure.

Enters: text or numbers. Leaves: rates in bit/s (float), or text. Inside the project every rate is bit/s, and every
size is bytes (int).
"""

from __future__ import annotations

import math
import re
from typing import Final

MAX_RATE: Final = 1e15
"""bit/s. No network link is faster; readers refuse anything above."""

MIN_RATE: Final = 1.0
"""bit/s. A capacity below it is not known, and no bandwidth below it is accepted: no link is that slow, and
quotients of smaller numbers leave the range of floats."""

_SUFFIXES: Final = {
    "": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_BANDWIDTH: Final = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*(Ki|Mi|Gi|Ti|[kKMGT])?(?:bit/s|bps|b/s)?\s*")


def parse_bandwidth(text: str) -> float:
    """bit/s of ``400M``, ``1.5G``, ``100Mi``, ``25000000``; ``Mbit/s`` and ``Mbps`` are read alike.

    Raises ValueError for anything else, below MIN_RATE and above MAX_RATE. The message names the accepted form.
    """
    match = _BANDWIDTH.fullmatch(text)
    if match is None or not text.isascii():
        raise ValueError(f"{text[:60]!r} is not a bandwidth; write bit/s with a suffix, such as 400M or 1.5G")
    rate = float(match[1]) * _SUFFIXES[match[2] or ""]
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{text[:60]!r} is outside the range of links (1 bit/s to 1000T)")
    return rate


def format_rate(rate: float) -> str:
    """``8.1 Gbit/s``, three significant digits at most."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= size:
            return f"{rate / size:.3g} {unit}bit/s"
    return f"{rate:.3g} bit/s"


def known_capacity(rate: float) -> float:
    """A link's capacity, bit/s; 0 (not known) below MIN_RATE."""
    return rate if rate >= MIN_RATE else 0.0


_LARGEST: Final = 1.7e308  # rounding a float above this to two digits would reach infinity
_WHOLE_BELOW: Final = 2.0**53  # beyond it a float's integer form only adds digits that JSON readers cannot hold


def quantise(value: float) -> float:
    """``value`` to two significant digits, as the wire carries it; 0 for zero, negative and non-finite values.

    Quantising twice changes nothing. Whole numbers become integers, so that their JSON is short.
    """
    if not math.isfinite(value) or value <= 0:
        return 0
    digits = min(float(f"{value:.1e}"), _LARGEST)
    return int(digits) if digits < _WHOLE_BELOW and digits.is_integer() else digits
