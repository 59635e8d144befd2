# SPDX-License-Identifier: Apache-2.0
"""Packets that take the flowtable's short cut: counted when the table counts, else missing from the coverage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.measuring.coverage import Coverage
from nodeagent.node.link import LinkCounters
from nodeagent.sources.base import Counters
from tests.kernel.guest.measuring import Measuring
from tests.kernel.guest.network import OFFLOADED, SERVER4, Network, RulesRefused
from tests.kernel.guest.traffic import Connection

SENT = 8_000_000
_HEADER = 14

_SHORTCUT = f"""
table inet shortcut {{
  flowtable short {{
    hook ingress priority 0
    devices = {{ pod1, uplink }}
    FLAG
  }}
  chain forward {{
    type filter hook forward priority filter + 10;
    tcp dport {OFFLOADED} flow add @short
  }}
}}
"""
_TRUTH = """
table netdev truth {
  counter early_pod1 { }
  counter early_uplink { }
  chain pod1 { type filter hook ingress device pod1 priority -100;
    ip protocol tcp counter name early_pod1
  }
  chain uplink { type filter hook ingress device uplink priority -100;
    ip protocol tcp counter name early_uplink
  }
}
"""
"""The short cut leaves before the node's ordinary chains, so its bytes are counted as they enter the devices."""


@contextmanager
def shortcut(net: Network, flag: str) -> Iterator[None]:
    """A flowtable between pod 1 and the uplink; ``flag`` is empty or ``counter``."""
    try:
        net.nft(_SHORTCUT.replace("FLAG", flag) + _TRUTH)
    except RulesRefused as refusal:
        pytest.skip(f"this kernel has no nft flowtable, the guests' kernels do: {refusal}")
    try:
        yield
    finally:
        net.nft("delete table inet shortcut\ndelete table netdev truth\n")


def coverage(before: tuple[int, LinkCounters], after: tuple[int, LinkCounters]) -> Coverage:
    """The figure after half a minute in which all this was counted and carried."""
    found = Coverage()
    counted, carried = (
        after[0] - before[0],
        (after[1].tx_bytes + after[1].rx_bytes) - (before[1].tx_bytes + before[1].rx_bytes),
    )
    found.advance(counted * 8 / 31, carried * 8 / 31, 31.0)
    return found


def carried(net: Network) -> LinkCounters:
    """What the uplink carried so far, without Ethernet headers."""
    with netns.entered(net.node):
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    fields = next(line.split() for line in lines if line.strip().startswith("uplink:"))
    rx_bytes, rx_packets, tx_bytes, tx_packets = (int(fields[i]) for i in (1, 2, 9, 10))
    return LinkCounters(tx_bytes - _HEADER * tx_packets, rx_bytes - _HEADER * rx_packets)


def counted(measuring: Measuring) -> int:
    """Link bytes of all owners since the beginning."""
    return sum(owner.tx_bytes + owner.rx_bytes for owner in measuring.owners().values())


def transfer(measuring: Measuring) -> tuple[dict[str, int], Counters, Coverage]:
    """Carry SENT bytes from pod 1 to the server: the truth, what pod 1 was charged, and the coverage figure."""
    before = counted(measuring), carried(measuring.net)
    with Connection(
        measuring.net.pod1, measuring.net.server, SERVER4, listen=SERVER4, port=OFFLOADED
    ) as connection:
        connection.answer(1000)  # established: from here on the short cut is open
        connection.send(SENT)
        truth = measuring.truth()
        return truth, measuring.owners()["uid-1"], coverage(before, (counted(measuring), carried(measuring.net)))


@pytest.fixture
def counting(shared_net: Network) -> Iterator[None]:
    with shortcut(shared_net, "counter"):
        yield


@pytest.fixture
def silent(shared_net: Network) -> Iterator[None]:
    with shortcut(shared_net, ""):
        yield


@pytest.mark.usefixtures("counting")
def test_a_flowtable_that_counts_hides_no_byte(measuring: Measuring) -> None:
    truth, pod, figure = transfer(measuring)
    assert truth["in_pod1"] < SENT / 2, "the packets did not take the short cut"
    assert truth["early_pod1"] > SENT
    assert (pod.tx_bytes, pod.rx_bytes) == (truth["early_pod1"], truth["early_uplink"])
    assert figure.ratio == pytest.approx(1, abs=0.02)


@pytest.mark.usefixtures("silent")
def test_a_flowtable_that_does_not_count_lowers_the_coverage(measuring: Measuring) -> None:
    truth, pod, figure = transfer(measuring)
    assert truth["in_pod1"] < SENT / 2, "the packets did not take the short cut"
    assert pod.tx_bytes < SENT / 2
    assert figure.ratio is not None
    assert figure.ratio < 0.5
    assert figure.low
