# SPDX-License-Identifier: Apache-2.0
"""What must hold whenever a connection crosses two conntrack zones, for every source that watches the node."""

from __future__ import annotations

import time

from tests.kernel.guest.carrying import THRESHOLDS, Watched
from tests.kernel.guest.measuring import PATIENCE, since
from tests.kernel.guest.traffic import Connection, Stream, exchange
from tests.kernel.guest.zoned import SERVER, UID, WAYS, Zoned

SENT, ANSWERED = 500_000, 40_000
DATAGRAMS = (1, 300, 1400, 20)


def carry(net: Zoned, way: str, protocol: str) -> None:
    port, target = WAYS[way]
    if protocol == "udp":
        exchange(net.pod, net.server, target, listen=SERVER, port=port, sizes=DATAGRAMS)
        return
    with connection(net, way) as pair:
        pair.send(SENT)
        pair.answer(ANSWERED)


def counts_once(watched: Watched[Zoned], way: str, protocol: str) -> None:
    carry(watched.net, way, protocol)
    assert len(watched.net.entries()) == 2
    owners, truth = watched.owners(), watched.truth()
    assert set(owners) == {UID}
    assert (owners[UID].tx_bytes, owners[UID].rx_bytes) == (truth["in_pod"], truth["out_pod"])
    assert owners[UID].flows_born == 1
    assert truth["in_pod"] > (sum(DATAGRAMS) if protocol == "udp" else SENT)
    watched.net.flush()
    _until_ended(watched)
    ended = watched.owners()
    assert (ended[UID].flows_born, ended[UID].flows_ended, sum(ended[UID].sizes)) == (1, 1, 1)
    assert ended[UID].tx_bytes == owners[UID].tx_bytes


def elephant_is_one(watched: Watched[Zoned], way: str) -> None:
    with Stream(connection(watched.net, way), 1e6):
        seen = watched.elephants_until(lambda reading: bool(reading.elephants))
        for _ in range(3):
            time.sleep(0.5)
            for name, reading in watched.read().items():
                assert len(reading.elephants) <= 1, (name, reading.elephants)  # a slow machine may stall
    assert {elephant.owners for elephants in seen.values() for elephant in elephants} == {(UID,)}


def what_goes_on_counts_on(watched: Watched[Zoned], way: str) -> None:
    """The entry of each zone is removed once, while the connection goes on; the next packet makes a new one."""
    with connection(watched.net, way) as pair:
        pair.send(SENT)
        watched.read()
        for zone in ("0", "1"):
            watched.net.flush("-D", "--zone", zone, "-p", "tcp")
            pair.send(1000)
            time.sleep(2.5 * THRESHOLDS.rate_window)
            pair.send(1000)
            watched.read()
            pair.send(SENT)
        sent = watched.truth()["in_pod"]
        found = {name: since(watched.before[name], reading)[UID] for name, reading in watched.read().items()}
    for name, counters in found.items():
        assert 3 * SENT < counters.tx_bytes <= sent, (name, counters, sent)


def connection(net: Zoned, way: str) -> Connection:
    port, target = WAYS[way]
    return Connection(net.pod, net.server, target, listen=SERVER, port=port)


def _until_ended(watched: Watched[Zoned]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(
        since(watched.before[name], reading)[UID].flows_ended < 1 for name, reading in watched.read().items()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
