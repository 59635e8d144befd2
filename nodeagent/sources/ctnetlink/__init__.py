# SPDX-License-Identifier: Apache-2.0
"""Flows from the kernel's connection tracking table over netlink: a dump per reading, and the ends in between.

Enters: this node's addresses, thresholds. Leaves: ``CtnetlinkSource``, its preflight, a decoder for ``ebpf``.
May import ``sources.base``, ``tuples`` and ``findings``.
"""

from nodeagent.sources.ctnetlink.source import CtnetlinkSource

__all__ = ["CtnetlinkSource"]
