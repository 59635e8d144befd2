"""What a source does where it has less than it could use: a full flow table, few capabilities, none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.network import netns
from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import LOCALITY, PORT, SERVER4, SILENT_PORTS, Network, network
from tests.kernel.guest.process import agent
from tests.kernel.guest.sources import CAPABILITIES, FEW, SMALL
from tests.kernel.guest.traffic import Connection, scatter

MANY = 8 * FEW
SIZE = 100


@pytest.fixture
def net() -> Iterator[Network]:
    """A node of its own: on the others' node their source is running."""
    with network() as made:
        yield made


def test_a_full_flow_table_loses_no_more_than_it_counts_as_lost(net: Network, source_name: str) -> None:
    source = SMALL[source_name](THRESHOLDS, LOCALITY)
    with netns.entered(net.node):
        source.open()
    try:
        measuring = Measuring(source, net)
        ports = range(SILENT_PORTS[0], SILENT_PORTS[0] + MANY)
        scatter(net.pod1, SERVER4, ports=ports, sizes=[SIZE] * MANY)
        truth = measuring.truth()
        measuring.read()
        net.flush()  # what was evicted is missed at the latest when it ends
        measuring.until(lambda _: _ended(measuring) + _lost(measuring) >= MANY)
        pod, lost = measuring.owners()["uid-1"], _lost(measuring)
    finally:
        source.close()
    assert lost > FEW
    assert 0 <= truth["in_pod1"] - pod.tx_bytes <= lost * (SIZE + 28)
    assert 0 <= MANY - pod.flows_born <= lost
    assert 0 <= MANY - pod.flows_ended <= lost


def _ended(measuring: Measuring) -> int:
    return measuring.owners()["uid-1"].flows_ended


def _lost(measuring: Measuring) -> int:
    return sum(measuring.lost().values())


def test_a_source_measures_with_the_capabilities_it_names_and_no_others(net: Network, source_name: str) -> None:
    with agent(net, source_name, CAPABILITIES[source_name]) as limited:
        before = limited.read()
        assert "refused" not in before, before
        with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
            connection.send(100_000)
            net.quiet()
            truth = net.counted()
            assert limited.read()["owners"]["uid-1"] == [truth["in_pod1"], truth["out_pod1"]]
        assert limited.end() == 0


def test_a_source_without_capabilities_says_which_it_needs(net: Network, source_name: str) -> None:
    with agent(net, source_name, ()) as powerless:
        reason = powerless.read()["refused"]
        assert "NET_ADMIN" in reason
        assert source_name.partition("-")[0] in reason
        assert powerless.end() == 0
