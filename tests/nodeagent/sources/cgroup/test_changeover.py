# SPDX-License-Identifier: Apache-2.0
"""``auto`` on a node whose network begins to send packets past conntrack while pods talk: the agent's own coverage
falls, and it changes from ctnetlink to the sockets by itself. Real programs redirect, and real ones count.
"""

from __future__ import annotations

import os

import pytest

from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.select import changing, with_options
from tests.nodeagent.node.uplinks.measuring import THRESHOLDS
from tests.nodeagent.node.uplinks.network import network
from tests.nodeagent.sources.cgroup.bypassing import changes_to_the_sockets, sockets_of_the_node
from tests.nodeagent.sources.cgroup.test_packets import SIZES

pytestmark = pytest.mark.netns


def test_it_changes_to_the_sockets_and_nothing_counts_twice() -> None:
    with network() as net, sockets_of_the_node(f"traffic-footprint-changeover-{os.getpid()}") as sockets:
        sources = with_options(Options(pins=None, sizes=SIZES), sockets)
        changes_to_the_sockets(net, sockets, changing(CtnetlinkSource(THRESHOLDS), sources, THRESHOLDS))
