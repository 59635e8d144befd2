# SPDX-License-Identifier: Apache-2.0
"""A datapath that conntrack does not see: there it counts nothing, and the source at sockets counts all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.sources.ctnetlink import CtnetlinkSource
from tests.kernel.guest.datapath import device, redirected
from tests.kernel.guest.measuring import LENIENT, since
from tests.kernel.guest.network import LOCALITY, POD1_4, PORT, SERVER4, Network
from tests.kernel.guest.traffic import Connection, Stream
from tests.nodeagent.sources.cgroup.test_packets import link_bytes, talk, until, watching

pytestmark = pytest.mark.netns


def test_under_a_redirecting_datapath_sockets_show_all_and_conntrack_nothing(net: Network, cgroup: Path) -> None:
    tracked = CtnetlinkSource(LENIENT, LOCALITY)
    with netns.entered(net.node):
        tracked.open()
    try:
        with redirected(net), watching(net, cgroup) as watch:
            net.flush()
            until(lambda: not tracked.read(time.monotonic()).flows)  # those of other tests end
            known = tracked.read(time.monotonic())
            before = device(net.pod1)
            with Stream(Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 3), 3_000_000):
                for _ in range(50):
                    talk(net.pod1, net.server, SERVER4, SERVER4, up=200, down=1_000)
                assert until(lambda: bool(watch.source.read(time.monotonic()).elephants))
                [seen] = watch.source.read(time.monotonic()).elephants
            talk(net.server, net.pod1, POD1_4, POD1_4, up=20_000, down=100)
            assert until(lambda: watch.owners()["uid-1"].flows_ended == 52)
            found, after = watch.owners()["uid-1"], device(net.pod1)
            assert seen.owners == ("uid-1",)
            assert (found.flows_born, found.mice_ended, found.local_bytes) == (52, 51, 0)
            assert link_bytes(found) == pytest.approx(
                [now - then for now, then in zip(after, before, strict=True)], rel=0.02
            )
            talk(net.pod2, net.pod1, POD1_4, POD1_4, up=400_000, down=3_000)
            local = watch.owners()
            assert local["uid-1"].local_bytes == local["uid-2"].local_bytes > 400_000
            seen_there = since(known, tracked.read(time.monotonic()))
            assert not {"uid-1", "uid-2"} & seen_there.keys(), "conntrack sees none of it"
    finally:
        tracked.close()
