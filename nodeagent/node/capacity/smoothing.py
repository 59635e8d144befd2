# SPDX-License-Identifier: Apache-2.0
"""The weight of a sample in an exponentially weighted mean. Pure."""

from __future__ import annotations

import math


def weight(seconds: float, tau: float) -> float:
    """Of a sample that stands for ``seconds``, with time constant ``tau``: 1 - exp(-seconds / tau)."""
    return -math.expm1(-max(seconds, 0.0) / tau)
