# SPDX-License-Identifier: Apache-2.0
"""What a kprobe may miss without a word: packets that interrupt a system call on a map, on kernels before 6.7.

The kernel runs no kprobe program on a processor that is just reading or writing a map for user space, and counts
what it skips only from 6.7 on. So where readings and traffic overlap there, figures may be a little short. Never
too high, and nowhere else.
"""

from __future__ import annotations

import platform
from typing import Final

from nodeagent.sources.base import Counters
from tests.kernel.guest.measuring import Owners

LARGEST_PART: Final = 0.01
_COUNTED_FROM: Final = (6, 7)
_FIGURES: Final = (
    "tx_bytes", "rx_bytes", "tx_packets", "rx_packets", "local_bytes", "flows_born", "flows_ended", "mice_ended",
)  # fmt: skip


def may_skip(source: str) -> bool:
    """Whether ``source`` is by kprobe, on a kernel that keeps no count of what it skips."""
    release = tuple(int(part) for part in platform.release().split("-", 1)[0].split(".")[:2])
    return source == "ebpf-kprobe" and release < _COUNTED_FROM


def assert_little_is_missing(found: Owners, exact: Owners) -> None:
    """Every figure is at most the exact one, and all owners together lack less than a hundredth, or one flow."""
    assert found.keys() <= exact.keys()
    for figure in _FIGURES:
        missing = {uid: getattr(exact[uid], figure) - getattr(found.get(uid, Counters()), figure) for uid in exact}
        assert min(missing.values()) >= 0, (figure, missing)
        whole = sum(getattr(counters, figure) for counters in exact.values())
        one = 1 if figure in ("flows_born", "flows_ended", "mice_ended") else 0
        assert sum(missing.values()) <= max(whole * LARGEST_PART, one), (figure, missing, whole)
