# SPDX-License-Identifier: Apache-2.0
"""What a process costs, as /proc tells it."""

from __future__ import annotations

import os
import time

import pytest

from lab.bench.process_cost import Cost, cpu_seconds, mib

STAT = "812 ({name}) S 1 812 812 0 -1 4194560 2201 977 0 0 250 50 7 9 20 0 4 0 5100 1000 200 184467 1 1 0 0 0"


@pytest.mark.parametrize("name", ["python3", "a b", ") 1 2 (", "((("])
def test_cpu_is_user_and_system_time_whatever_the_program_is_called(name: str) -> None:
    assert cpu_seconds(STAT.format(name=name), ticks=100) == 3.0


def test_sizes_are_found_by_their_whole_name() -> None:
    status = "Name:\tpython3\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\nRssAnon:\t 1 kB\n"
    assert (mib(status, "VmRSS"), mib(status, "VmHWM")) == (100.0, 200.0)


def test_a_size_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="VmRSS"):
        mib("Name:\tkthreadd\n", "VmRSS")


def test_this_process_costs_something_and_ever_more() -> None:
    first = Cost.of(os.getpid())
    deadline = time.monotonic() + 60
    while Cost.of(os.getpid()).cpu_seconds <= first.cpu_seconds:
        assert time.monotonic() < deadline, "no time was counted"
    assert 0 < first.resident_mib <= first.peak_mib
