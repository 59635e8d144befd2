# SPDX-License-Identifier: Apache-2.0
"""Quantities as people read them; pure."""

from __future__ import annotations

from footprint.models import LinkRates
from footprint.units import format_rate


def size(count: int) -> str:
    """``1.23 GB``: powers of 1000, like the rates beside it."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"


def rate(bits: float) -> str:
    """As in the annotations' summary; what would read as 0.0003 bit/s is 0."""
    return format_rate(bits) if bits >= 1 else "0"


def age(seconds: float) -> str:
    """``12s``, ``3m20s``, ``2h05m``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def share(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f}%"


def per_second(flows: float) -> str:
    return f"{flows:.3g}/s" if flows >= 0.005 else "0/s"


def pair(rates: LinkRates) -> str:
    """tx and rx; ``-`` for neither."""
    return "-" if rates.busier < 1 else f"{rate(rates.tx)} / {rate(rates.rx)}"


def direction(name: str, used: float, elephants: float, part: float | None) -> str:
    """``tx 160 Mbit/s (80%, elephants 158 Mbit/s)``."""
    told = [text for text in (share(part) if part is not None else "",) if text]
    if elephants >= 1:
        told.append(f"elephants {rate(elephants)}")
    return f"{name} {rate(used)}" + (f" ({', '.join(told)})" if told else "")
