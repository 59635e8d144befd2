# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from footprint.cluster.reflector import BACKOFF_LAST, backoff, lines


@given(st.lists(st.binary(min_size=1).filter(lambda b: b"\n" not in b)), st.integers(1, 7))
def test_lines_come_whole_however_the_stream_is_cut(whole: list[bytes], size: int) -> None:
    stream = b"".join(line + b"\n" for line in whole) + b"unfinished"
    chunks = (stream[at : at + size] for at in range(0, len(stream), size))
    assert list(lines(chunks)) == whole


def test_backoff_doubles_up_to_its_bound_and_never_returns_in_step() -> None:
    assert [backoff(n, lambda: 1.0) for n in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert backoff(50, lambda: 1.0) == BACKOFF_LAST
    assert backoff(1, lambda: 0.0) == 0.1
