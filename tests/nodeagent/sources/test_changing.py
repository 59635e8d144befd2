# SPDX-License-Identifier: Apache-2.0
"""When ``auto`` changes its source, and that nothing counts twice then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodeagent.sources.base import Counters, FlowThresholds, Locality, Reading, SourceUnavailable
from nodeagent.sources.changing import PATIENCE, RETRY, TRIAL, ChangingSource, Judge, Step


class Stub:
    """A source that counts its readings as bytes."""

    pinned = True

    def __init__(self, name: str, refusal: str = "") -> None:
        self.name, self.refusal, self.keep = name, refusal, True
        self.opened = self.closed = False
        self.locality: Locality | None = None
        self.thresholds: FlowThresholds | None = None
        self._epoch = self._bytes = 0

    def open(self) -> None:
        if self.refusal:
            raise SourceUnavailable(self.refusal)
        self.opened, self._epoch = True, self._epoch + 1

    def set_locality(self, locality: Locality) -> None:
        self.locality = locality

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        self.thresholds = thresholds

    def read(self, now: float) -> Reading:
        self._bytes += 100
        return Reading(now, self._epoch, {"pod": Counters(tx_bytes=self._bytes)})

    def wait(self, timeout: float) -> bool:
        return timeout > 1

    def close(self) -> None:
        self.closed = True


def steps(judge: Judge, coverages: list[tuple[float, float | None]]) -> Iterator[Step]:
    """The steps at (seconds, coverage); what is below one half is low."""
    for now, coverage in coverages:
        yield judge.advance(coverage, now, low=coverage is not None and coverage < 0.5)


def lasting(begin: float, seconds: float, coverage: float | None) -> list[tuple[float, float | None]]:
    return [(begin + second, coverage) for second in range(int(seconds) + 1)]


def test_low_coverage_must_last_before_the_source_is_changed() -> None:
    found = list(steps(Judge(), lasting(0, PATIENCE, 0.0)))
    assert found == [Step.STAY] * int(PATIENCE) + [Step.CHANGE]


@pytest.mark.parametrize("between", [0.9, None], ids=["well again", "too little traffic to tell"])
def test_an_interruption_begins_the_wait_anew(between: float | None) -> None:
    half = PATIENCE - 1
    told = [*lasting(0, half, 0.1), (half + 1, between), *lasting(half + 2, half, 0.1)]
    assert Step.CHANGE not in steps(Judge(), told)


def test_a_change_that_shows_more_stays_for_good() -> None:
    judge = Judge()
    list(steps(judge, lasting(0, PATIENCE, 0.02)))
    assert judge.changed
    after = [*lasting(PATIENCE + 1, TRIAL + 10, 0.98), *lasting(1000, 600, 0.1)]
    assert set(steps(judge, after)) == {Step.STAY}


def test_a_change_that_shows_no_more_is_taken_back_and_not_tried_again_for_long() -> None:
    judge = Judge()
    list(steps(judge, lasting(0, PATIENCE, 0.2)))
    began = PATIENCE + 1
    found = list(steps(judge, lasting(began, TRIAL, 0.25)))
    assert found.count(Step.BACK) == 1
    assert Step.CHANGE not in found
    back = began + TRIAL
    assert set(steps(judge, lasting(back + 1, RETRY - 2, 0.2))) == {Step.STAY}
    assert Step.CHANGE in steps(judge, lasting(back + RETRY, PATIENCE + 1, 0.2))


def test_nothing_is_judged_while_the_link_carries_too_little() -> None:
    judge = Judge()
    list(steps(judge, lasting(0, PATIENCE, 0.2)))
    assert set(steps(judge, lasting(PATIENCE + 1, 2 * TRIAL, None))) == {Step.STAY}
    assert judge.changed


def low_for_long(source: ChangingSource, begin: float = 0.0) -> list[bool]:
    return [source.reconsider(0.05, begin + second, low=True) for second in range(int(PATIENCE) + 2)]


def changing(other: Stub) -> tuple[ChangingSource, Stub, list[Stub]]:
    used, again = Stub("ebpf-fentry"), list[Stub]()

    def remake() -> Stub:
        again.append(Stub("ebpf-fentry"))
        return again[-1]

    used.open()
    return ChangingSource(used, lambda: other, remake), used, again


def test_the_other_source_takes_over_in_a_new_epoch_with_all_that_it_must_know() -> None:
    other = Stub("ebpf-cgroup")
    source, used, _ = changing(other)
    locality, thresholds = Locality(pods={b"1234": "pod"}), FlowThresholds(mouse_bytes=7)
    source.set_locality(locality)
    source.set_thresholds(thresholds)
    before = source.read(0.0)
    assert sum(low_for_long(source)) == 1
    after = source.read(100.0)
    assert after.epoch == before.epoch + 1
    assert (source.name, source.changes) == ("ebpf-cgroup", 1)
    assert (other.locality, other.thresholds) == (locality, thresholds)
    assert (used.closed, used.keep, other.keep) == (True, False, False), "nothing of the old one stays"
    assert source.wait(2)
    source.keep = True
    assert other.keep


def test_an_epoch_that_the_new_source_begins_is_new_as_well() -> None:
    source, _, _ = changing(Stub("ebpf-cgroup"))
    epochs = [source.read(0.0).epoch]
    low_for_long(source)
    epochs.append(source.read(1.0).epoch)
    source.open()
    epochs.append(source.read(2.0).epoch)
    assert epochs == [1, 2, 3]


def test_a_source_that_refuses_leaves_the_one_in_use_as_it_is() -> None:
    other = Stub("ebpf-cgroup", "no cgroup")
    source, used, _ = changing(other)
    before = source.read(0.0)
    assert not any(low_for_long(source))
    assert (used.closed, other.closed, source.name, source.changes) == (False, True, "ebpf-fentry", 0)
    assert source.read(1.0).epoch == before.epoch
    assert not any(low_for_long(source, PATIENCE + 10))


def test_a_change_that_is_taken_back_makes_the_first_one_again() -> None:
    other = Stub("ebpf-cgroup")
    source, _, again = changing(other)
    epochs = [source.read(0.0).epoch]
    low_for_long(source)
    epochs.append(source.read(1.0).epoch)
    assert source.reconsider(0.06, PATIENCE + TRIAL + 10, low=True)
    epochs.append(source.read(2.0).epoch)
    [remade] = again
    assert (source.name, remade.opened, other.closed) == ("ebpf-fentry", True, True)
    assert epochs == [1, 2, 3]
