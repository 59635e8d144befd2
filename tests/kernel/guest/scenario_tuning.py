# SPDX-License-Identifier: Apache-2.0
"""Tuning by the ends that each source tells of an elephant: its connection is found, and prio sends its packets by
the last band, those of other connections by the middle one."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.tuning.flows import Flow, wanted
from nodeagent.tuning.modes import MOST_MARKED, Mode, PriorityOptions
from nodeagent.tuning.part import PriorityPart
from tests.kernel.guest.measuring import LENIENT, PATIENCE, Measuring
from tests.kernel.guest.network import MASQUERADED, PORT, SERVER4, SERVER6, SERVICE6, Network
from tests.kernel.guest.traffic import Connection, Stream

pytestmark = pytest.mark.one_kernel
_RATE = 3_000_000
_MOUSE = 10_000
_CARRIED = 500_000


def run(net: Network, *command: str) -> str:
    with netns.entered(net.node):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def prio(shared_net: Network) -> Iterator[None]:
    """The qdisc of the uplink, for the time of one scenario."""
    run(shared_net, "tc", "qdisc", "replace", "dev", "uplink", "root", "handle", "1:", "prio")
    yield
    run(shared_net, "tc", "qdisc", "delete", "dev", "uplink", "root")


def bands(net: Network) -> list[int]:
    """Bytes sent by each."""
    said = run(net, "tc", "-s", "class", "show", "dev", "uplink")
    found = [int(size) for size in re.findall(r"class prio 1:\d.*\n Sent (\d+) bytes", said)]
    assert len(found) == 3, said
    return found


def until_band_grows(net: Network, band: int) -> None:
    start, deadline = bands(net)[band], time.monotonic() + PATIENCE
    while bands(net)[band] - start < _CARRIED:
        assert time.monotonic() < deadline, bands(net)
        time.sleep(0.1)


@pytest.mark.usefixtures("prio")
@pytest.mark.parametrize(
    ("target", "listen", "port"),
    [(SERVER4, SERVER4, PORT), (SERVICE6, SERVER6, MASQUERADED)],
    ids=["plain", "service-masqueraded-6"],
)
def test_elephants_of_every_source_leave_by_the_last_band(
    measuring: Measuring, tmp_path: Path, target: str, listen: str, port: int
) -> None:
    net = measuring.net
    measuring.set_thresholds(LENIENT)
    with Stream(Connection(net.pod1, net.server, target, listen=listen, port=port), _RATE):
        readings = measuring.until(lambda reading: bool(reading.elephants))
        flows: dict[str, tuple[Flow, ...]] = {
            name: wanted(reading.elephants, MOST_MARKED) for name, reading in readings.items()
        }
        assert bands(net)[2] == 0
        for name, found in flows.items():
            part = PriorityPart(PriorityOptions(mode=Mode.APPLY), tmp_path, lambda: ["uplink"])
            with netns.entered(net.node):
                part.advance(found, time.monotonic())
                assert part.status.flows == found, (name, part.status)
            until_band_grows(net, 2)
            with Connection(net.pod2, net.server, listen, listen=listen, port=PORT + 1) as small:
                before = bands(net)[1]
                small.send(_MOUSE)
                assert bands(net)[1] - before >= _MOUSE
            with netns.entered(net.node):
                part.withdraw()
            until_band_grows(net, 1)
