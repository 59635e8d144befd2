# SPDX-License-Identifier: Apache-2.0
"""eBPF alone, on a node whose kernel does not count (nf_conntrack_acct=0), with room for few events.

Elsewhere ctnetlink watches as well, and switches the kernel's accounting on. Here too: the functions that are
hooked where the usual ones are not, by each way to attach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from ctypes import sizeof
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.sources.base import FlowSource, FlowThresholds, LossKind
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel.layout import ElephantEvent
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource
from tests.kernel.guest.functions import WITHOUT
from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import (
    FORBIDDEN,
    LOCALITY,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SILENT_PORTS,
    Network,
    network,
)  # fmt: skip
from tests.kernel.guest.sources import EBPF, opened
from tests.kernel.guest.traffic import Connection, exchange, scatter

EVENT_BYTES = 4096
ROOM = (EVENT_BYTES - 1) // (sizeof(ElephantEvent) + 8)
"""Events that fit: each with a header of the kernel's, and never to the last byte."""
MANY = 3 * ROOM
SIZE = 1400


@pytest.fixture(scope="module")
def quiet_net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def hooks(quiet_net: Network) -> Iterator[Mapping[str, FlowSource]]:
    with opened(EBPF, quiet_net.node, THRESHOLDS, LOCALITY, event_bytes=EVENT_BYTES) as made:
        yield made


@pytest.fixture
def measuring(hooks: Mapping[str, FlowSource], quiet_net: Network) -> Measuring:
    return Measuring(hooks, quiet_net)


@pytest.mark.parametrize("server", [SERVER4, SERVER6], ids=["IPv4", "IPv6"])
def test_the_hooks_count_where_the_kernel_does_not(measuring: Measuring, server: str) -> None:
    net = measuring.net
    with netns.entered(net.node):
        assert Path("/proc/sys/net/netfilter/nf_conntrack_acct").read_text().strip() == "0"
    exchange(net.pod1, net.server, server, listen=server, port=PORT, sizes=(1, 300, 1400))
    with Connection(net.pod1, net.server, server, listen=server, port=PORT) as connection:
        connection.send(500_000)
        truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-1"}
    assert (owners["uid-1"].tx_bytes, owners["uid-1"].rx_bytes) == (truth["in_pod1"], truth["out_pod1"])
    assert owners["uid-1"].flows_born == 2


def test_elephants_whose_signal_found_the_ring_full_are_counted_and_found_at_the_next_reading(
    measuring: Measuring,
) -> None:
    # One datagram makes an elephant, and nobody reads while they come.
    measuring.set_thresholds(FlowThresholds(elephant_bytes=SIZE, elephant_rate=1e3, rate_window=0.4, exit_hold=60))
    first = SILENT_PORTS[0]
    scatter(measuring.net.pod1, SERVER4, ports=range(first, first + MANY), sizes=[SIZE] * MANY)
    truth = measuring.truth()
    signalled = {}
    for name, source in measuring.sources.items():
        assert isinstance(source, EbpfSource)
        signalled[name] = len(source.events())
    readings = measuring.read()
    lost = measuring.lost()
    owners = measuring.owners()
    measuring.net.flush()  # they end: as many signals again, of which some are lost
    after = measuring.until(lambda reading: not reading.elephants)
    for name, reading in readings.items():
        assert signalled[name] == ROOM, name
        assert lost[name] == {LossKind.EVENTS_OVERRUN: MANY - ROOM}, name
        found = {elephant.destination for elephant in reading.elephants}
        assert found == {f"{SERVER4}:{port}" for port in range(first, first + MANY)}, name
        assert after[name].elephants == (), name
    assert owners["uid-1"].tx_bytes == truth["in_pod1"]


REFUSED = FORBIDDEN + 1
_REFUSING = f"""
table inet refusing {{
  chain forward {{
    type filter hook forward priority filter + 1; tcp dport {REFUSED} reject with tcp reset;
  }}
}}
"""


@contextmanager
def refusing(net: Network) -> Iterator[None]:
    """Connections to one port are refused in the server's name: an answer to a packet that goes no further."""
    net.nft(_REFUSING)
    try:
        yield
    finally:
        net.nft("delete table inet refusing")


@pytest.mark.parametrize("mode", list(Mode), ids=str)
@pytest.mark.parametrize("without", WITHOUT, ids=lambda without: f"without {without}")
def test_whatever_functions_are_hooked_every_byte_is_counted_once(
    quiet_net: Network, mode: Mode, without: str
) -> None:
    net = quiet_net
    options = Options(modes=(mode,), sizes=Sizes(flows=1024), pins=None, without=frozenset(without.split()))
    source = EbpfSource(THRESHOLDS, LOCALITY, options=options)
    with closing(source):
        with netns.entered(net.node):
            source.open()
        assert source._session is not None
        assert (source.mode, source._session.functions) == (mode.value, WITHOUT[without])
        measuring = Measuring({"ebpf": source}, net)
        scatter(net.pod1, SERVER4, ports=[FORBIDDEN], sizes=[500])
        with refusing(net), pytest.raises(ConnectionRefusedError):
            Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=REFUSED)
        nobodys = measuring.truth()
        assert measuring.owners() == {}
        scatter(net.pod1, SERVICE4, ports=[SILENT_PORTS[0]], sizes=[700])  # no second packet settles it
        exchange(net.pod1, net.server, SERVER6, listen=SERVER6, port=PORT, sizes=(1, 300, 1400))
        with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
            connection.send(500_000)
            connection.answer(20_000)
            truth = measuring.truth()
            net.flush()
            ((pod, lost),) = measuring.ended(3).values()
            owners = measuring.owners()
            connection.reset()
        assert lost == 0
    assert set(owners) == {"uid-1"}
    assert (pod.tx_bytes, pod.rx_bytes) == (
        truth["in_pod1"] - nobodys["in_pod1"], truth["out_pod1"] - nobodys["out_pod1"],
    )  # fmt: skip
    assert (pod.flows_born, pod.flows_ended, pod.mice_ended) == (3, 3, 2)


def test_connections_that_nobody_counted_end_without_a_size(quiet_net: Network) -> None:
    net = quiet_net
    net.quiet()
    net.flush()
    with (
        Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as idle,
        opened(EBPF, net.node, THRESHOLDS, LOCALITY) as sources,
        Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 1) as young,
    ):
        before = {name: source.read(0.0) for name, source in sources.items()}
        young.send(1_000)
        idle.send(1_000)
        net.quiet()
        net.flush()
        for name, source in sources.items():
            pod, lost = source.read(0.0).owners["uid-1"], before[name].lost
            assert lost == {LossKind.NO_COUNTERS: 1}, name
            assert (pod.flows_born, pod.flows_ended, pod.mice_ended, sum(pod.sizes)) == (1, 2, 1, 1), name
        idle.reset()
        young.reset()
