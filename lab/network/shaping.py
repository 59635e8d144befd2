# SPDX-License-Identifier: Apache-2.0
"""A link's capacity: a rate and one plain FIFO, the queue in which mice wait behind elephants.

Enters: an interface and its capacity in bit/s. Leaves: ``tc`` lines. They shape what an interface sends. So a link
is shaped in both directions at its two ends: the node's interface and the bridge's port.
"""

from __future__ import annotations

from typing import Final

FIFO_BYTES: Final = 1_500_000
"""1000 full-size packets, Linux's classic txqueuelen.

In bytes rather than packets, so that a merged (GSO) packet counts what it weighs."""

GSO_BYTES: Final = 16_384
"""Largest packet the stack hands down unsegmented, on every interface of the lab.

A queued packet is served whole: at 200 Mbit/s one of 64 KiB blocks the link for 2.6 ms, one of 16 KiB for 0.7 ms.
Smaller costs CPU: four elephants at 200 Mbit/s each on two otherwise idle cores took 4 % of both with 16 KiB and
got 180-190 Mbit/s of payload; with 2 kB they took all of both and got 100-120.
"""


def shape(interface: str, rate: float) -> str:
    """``tc`` lines that give ``interface``'s egress ``rate`` bit/s behind one FIFO."""
    bits = max(8, round(rate))
    # One packet plus a millisecond: enough for the rate to be met between timer wake-ups, too little for a burst
    # to pass the queue unnoticed.
    burst = GSO_BYTES + bits // 8 // 1000
    return (
        f"qdisc replace dev {interface} root handle 1: htb default 1\n"
        f"class replace dev {interface} parent 1: classid 1:1 htb rate {bits}bit ceil {bits}bit "
        f"burst {burst}b cburst {burst}b quantum {GSO_BYTES}\n"
        f"qdisc replace dev {interface} parent 1:1 handle 10: bfifo limit {FIFO_BYTES}b\n"
    )
