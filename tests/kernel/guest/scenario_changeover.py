# SPDX-License-Identifier: Apache-2.0
"""``auto`` on a node whose network begins to send packets past conntrack while pods talk: the agent's own coverage
falls, and it changes from eBPF on conntrack to the sockets by itself.
"""

from __future__ import annotations

import pytest

from lab.network import netns
from nodeagent.sources.changing import ChangingSource
from nodeagent.sources.select import AUTO, open_source
from tests.kernel.guest.sources import EBPF
from tests.nodeagent.node.uplinks.measuring import THRESHOLDS
from tests.nodeagent.node.uplinks.network import network
from tests.nodeagent.sources.cgroup.bypassing import changes_to_the_sockets, sockets_of_the_node

pytestmark = pytest.mark.one_kernel  # what is decided here, the agent decides


def test_it_changes_to_the_sockets_and_nothing_counts_twice() -> None:
    with network() as net, sockets_of_the_node("changeover") as sockets:
        with netns.entered(net.node):
            source = open_source(AUTO, THRESHOLDS, cgroup=sockets)
        assert isinstance(source, ChangingSource)
        assert source.name == EBPF[0]
        changes_to_the_sockets(net, sockets, source)
