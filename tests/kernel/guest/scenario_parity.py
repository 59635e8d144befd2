"""One programme of traffic, watched by every source at the same time: the same footprints, figure by figure.

The other scenarios on the shared node compare the sources as well (``Measuring.owners``); this one has everything
at once, elephants included.
"""

from __future__ import annotations

from contextlib import ExitStack

from nodeagent.sources.base import HOST, Elephant
from tests.kernel.guest.measuring import LENIENT, Measuring, Owners
from tests.kernel.guest.network import (
    MASQUERADED,
    NEAR_SERVICE4,
    POD1_4,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SILENT_PORTS,
)  # fmt: skip
from tests.kernel.guest.traffic import Connection, Stream, exchange, scatter

RATE = 3_000_000
MICE = 60


def programme(measuring: Measuring) -> dict[str, set[tuple[tuple[str, ...], str, str]]]:
    """Run it; the elephants that each source saw while they ran."""
    net = measuring.net
    measuring.set_thresholds(LENIENT)
    with ExitStack() as stack:
        elephants = [
            Connection(net.pod1, net.server, SERVICE4, listen=SERVER4, port=PORT + 1),
            Connection(net.pod3, net.server, SERVER6, listen=SERVER6, port=PORT + 2),
            Connection(net.pod2, net.pod1, POD1_4, listen=POD1_4, port=PORT + 3),
        ]
        streams = [stack.enter_context(Stream(connection, RATE)) for connection in elephants]
        for client, target, port in ((net.pod1, SERVER4, PORT), (net.pod2, SERVER4, MASQUERADED)):
            with Connection(client, net.server, target, listen=SERVER4, port=port) as request:
                request.send(3_000)
                request.answer(30_000)
        exchange(net.pod2, net.pod1, NEAR_SERVICE4, listen=POD1_4, port=PORT, sizes=[200, 1200])
        exchange(net.node, net.server, SERVER4, listen=SERVER4, port=PORT, sizes=[700])
        first = SILENT_PORTS[0]
        scatter(net.pod1, SERVER4, ports=range(first, first + MICE), sizes=range(1, MICE + 1))
        readings = measuring.until(lambda reading: len(reading.elephants) == len(elephants))
        for stream in streams:
            stream.stop()
    return {name: {_shown(elephant) for elephant in reading.elephants} for name, reading in readings.items()}


def _shown(elephant: Elephant) -> tuple[tuple[str, ...], str, str]:
    return tuple(sorted(elephant.owners)), elephant.source, elephant.destination


def test_every_source_makes_the_same_footprints_of_the_same_traffic(measuring: Measuring) -> None:
    elephants = programme(measuring)
    truth = measuring.truth()
    measuring.net.flush()
    ended = measuring.ended(MICE + 2)  # the mice, a request, an elephant
    owners: Owners = measuring.owners()  # compares bytes, packets, births, ends, mice and sizes of every owner
    (_, expected), *others = elephants.items()
    assert len(expected) == 3
    for name, found in others:
        assert found == expected, name
    assert {name: lost for name, (_, lost) in ended.items()} == dict.fromkeys(ended, 0)
    assert set(owners) == {"uid-1", "uid-2", "uid-3", HOST}
    assert owners["uid-1"].mice_ended == MICE + 1  # and the request
    assert owners["uid-1"].local_bytes == owners["uid-2"].local_bytes > 0
    assert sum(owner.tx_bytes for owner in owners.values()) == truth["out_uplink"]
    assert sum(owner.rx_bytes for owner in owners.values()) == truth["in_uplink"]
