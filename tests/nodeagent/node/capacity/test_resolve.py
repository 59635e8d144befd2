# SPDX-License-Identifier: Apache-2.0
"""The first that knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from footprint.models import LinkRates
from nodeagent.node.capacity.resolve import Capacity, Claims, Learned, resolve

EVERYBODY = Claims(
    flag=1e9, node=2e9, table=3e9, driver=4e9, tx=Learned(5e9, 0.9), rx=Learned(6e9, 0.9), assumed=7e9
)


@pytest.mark.parametrize(
    ("silent", "rates", "by"),
    [
        ((), (1e9, 1e9), "stated"),
        (("flag",), (2e9, 2e9), "stated"),
        (("flag", "node"), (3e9, 3e9), "stated"),
        (("flag", "node", "table"), (4e9, 4e9), "driver"),
        (("flag", "node", "table", "driver"), (5e9, 6e9), "estimated"),
        (("flag", "node", "table", "driver", "tx", "rx"), (7e9, 7e9), "assumed"),
        (("flag", "node", "table", "driver", "tx", "rx", "assumed"), (0, 0), ""),
    ],
)
def test_each_is_asked_when_those_before_it_know_nothing(
    silent: tuple[str, ...], rates: tuple[float, float], by: str
) -> None:
    defaults = Claims()
    found = resolve(replace(EVERYBODY, **{name: getattr(defaults, name) for name in silent}))
    assert (found.rates, found.by) == (LinkRates(*rates), by)


def test_a_direction_that_taught_little_takes_the_others_estimate() -> None:
    sure, unsure = Learned(190e6, 0.9), Learned(20e6, 0.2)
    assert resolve(Claims(tx=sure)) == Capacity(LinkRates(190e6, 190e6), "estimated", 0.9)
    assert resolve(Claims(tx=sure, rx=unsure)).rates == LinkRates(190e6, 190e6)
    assert resolve(Claims(tx=sure, rx=Learned(100e6, 0.5))).rates == LinkRates(190e6, 100e6)


def test_an_estimate_that_is_not_firm_does_not_say_less_than_what_is_assumed() -> None:
    assert resolve(Claims(tx=Learned(200e6, 0.49), assumed=1e9)).by == "assumed"
    assert resolve(Claims(tx=Learned(200e6, 0.5), assumed=1e9)).by == "estimated"
    assert resolve(Claims(tx=Learned(2e9, 0.1), assumed=1e9)).by == "estimated"


def test_what_is_learned_or_assumed_is_no_less_than_what_the_link_carries() -> None:
    busy = LinkRates(3e9, 1e6)
    assert resolve(Claims(tx=Learned(1e9, 0.9), carries=busy)).rates == LinkRates(3e9, 1e9)
    assert resolve(Claims(assumed=1e9, carried=busy)).rates == LinkRates(3e9, 1e9)
    assert resolve(Claims(flag=1e9, carries=busy, carried=busy)).rates == LinkRates(1e9, 1e9)
