# SPDX-License-Identifier: Apache-2.0
"""What a kprobe may miss: packets that interrupt a system call on a map; on kernels before 6.7 without a word.

The kernel runs no kprobe program on a processor that is just reading or writing a map for user space, and counts
what it skips only from 6.7 on. So where readings and traffic overlap, figures of a kprobe may be a little short.
Never too high, and nowhere else.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from typing import Final

from nodeagent.sources.base import Counters, LossKind
from tests.kernel.guest.measuring import Owners

KPROBE: Final = "ebpf-kprobe"
LARGEST_PART: Final = 0.01
_COUNTED_FROM: Final = (6, 7)
_FIGURES: Final = (
    "tx_bytes", "rx_bytes", "tx_packets", "rx_packets", "local_bytes", "flows_born", "flows_ended", "mice_ended",
)  # fmt: skip


def may_skip(source: str) -> bool:
    """Whether ``source`` is by kprobe, on a kernel that keeps no count of what it skips."""
    release = tuple(int(part) for part in platform.release().split("-", 1)[0].split(".")[:2])
    return source == KPROBE and release < _COUNTED_FROM


def may_be_short(source: str, lost: Collection[str]) -> bool:
    """Whether ``source`` may have skipped something: the kernel says so, or would not."""
    return may_skip(source) or (source == KPROBE and set(lost) == {LossKind.HOOKS_MISSED})


def assert_sent(source: str, found: Collection[int], truth: Collection[int], lost: Mapping[str, int]) -> None:
    """The figures are the truth; a little less where something may have been skipped."""
    if may_be_short(source, lost):
        assert all(exact * (1 - LARGEST_PART) <= one <= exact for one, exact in zip(found, truth, strict=True))
    else:
        assert (list(found), lost) == (list(truth), {})


def assert_little_is_missing(found: Owners, exact: Owners) -> None:
    """Every figure is at most the exact one, and all owners together lack less than a hundredth, or one flow."""
    assert found.keys() <= exact.keys()
    for figure in _FIGURES:
        missing = {uid: getattr(exact[uid], figure) - getattr(found.get(uid, Counters()), figure) for uid in exact}
        assert min(missing.values()) >= 0, (figure, missing)
        whole = sum(getattr(counters, figure) for counters in exact.values())
        one = 1 if figure in ("flows_born", "flows_ended", "mice_ended") else 0
        assert sum(missing.values()) <= max(whole * LARGEST_PART, one), (figure, missing, whole)
