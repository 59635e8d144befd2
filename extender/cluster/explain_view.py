# SPDX-License-Identifier: Apache-2.0
"""The snapshot as it would be had one pod not been placed yet.

An explanation says why a placed pod went to its node. So the pod's own load must not count against that node. What
was learned from the pod about its workload still counts. Called under the owner's lock.
"""

from __future__ import annotations

from dataclasses import replace

from extender.cluster.node_views import NodeViews
from extender.model.mice_free_links import MiceFreeLinks
from extender.model.snapshot import Snapshot, unplaced


def without(
    snapshot: Snapshot, views: NodeViews, expected: MiceFreeLinks, *, uid: str, node: str, now: float
) -> Snapshot:
    """``snapshot`` without the pod ``uid`` on ``node``; ``views`` are those that ``snapshot`` was made of."""
    facts, before = views.facts_of(node, now), snapshot.nodes.get(node)
    if not uid or facts is None or before is None:
        return snapshot
    view, links = views.compute(unplaced(facts, uid), now), views.links.copy()
    links.swap(before, view)
    scarce = links.scarce(links.to_keep(expected))
    return replace(snapshot, nodes=views.views.after({node: view}), scarce=scarce)
