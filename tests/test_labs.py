# SPDX-License-Identifier: Apache-2.0
"""A lab that is not healthy fails the tests that stand on it at once, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests import labs


@dataclass
class Reported:
    """A lab that says of itself what it is told to."""

    unreadiness: list[list[str]] = field(default_factory=list)
    """Of each look, the last one for ever."""
    losses: list[str] = field(default_factory=list)
    looks: int = 0

    def lost(self) -> list[str]:
        return self.losses

    def unready(self) -> list[str]:
        self.looks += 1
        return self.unreadiness.pop(0) if len(self.unreadiness) > 1 else self.unreadiness[0]


def test_a_test_on_a_healthy_lab_runs() -> None:
    with labs.standing_on(Reported([[]])):
        labs.fail_when_unhealthy()


def test_a_process_that_is_gone_fails_at_once() -> None:
    with (
        labs.standing_on(Reported([[]], losses=["etcd has ended"])),
        pytest.raises(pytest.fail.Exception, match="not healthy: etcd has ended"),
    ):
        labs.fail_when_unhealthy(sleep=lambda _seconds: pytest.fail("waited for what does not come back"))


def test_nodes_that_recover_are_waited_for() -> None:
    lab = Reported([["node1 is NotReady"], ["node1 is NotReady"], []])
    with labs.standing_on(lab):
        labs.fail_when_unhealthy(sleep=lambda _seconds: None)
    assert lab.looks == 3


def test_nodes_that_stay_away_fail_every_later_test_without_another_wait() -> None:
    waited: list[float] = []
    lab = Reported([["node1 is NotReady: stopped posting"]])
    with labs.standing_on(lab):
        for _ in range(3):
            with pytest.raises(pytest.fail.Exception, match="node1 is NotReady: stopped posting"):
                labs.fail_when_unhealthy(sleep=waited.append)
    assert sum(waited) == labs.RECOVERY_SECONDS


def test_a_lab_that_was_left_is_not_asked() -> None:
    with labs.standing_on(Reported([[]], losses=["gone"])):
        pass
    labs.fail_when_unhealthy()
