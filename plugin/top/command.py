# SPDX-License-Identifier: Apache-2.0
"""What ``top`` does. Raises ApiError, ClusterConfigError and BadSettingError."""

from __future__ import annotations

import sys

from footprint.classes import TrafficClass
from footprint.cluster import paths
from footprint.commands import BadSettingError, nearest
from plugin.listing.gathering import beating, with_heartbeat
from plugin.output.flags import Form
from plugin.output.listing import rendered
from plugin.published import published
from plugin.terminal import show, warn
from plugin.top import layout
from plugin.top.flags import TopSettings
from plugin.top.layout import KINDS, Picture
from plugin.top.state import State, View


def run(settings: TopSettings) -> int:
    """Draw until it is ended, or print one table where nothing can be drawn."""
    state = _chosen(settings)
    if sys.stdin.isatty() and sys.stdout.isatty():
        # What cannot work is told before the screen is taken.
        settings.reach.read(paths.NODES, {"limit": "1"}, metadata_only=True)
        from plugin.top.drawing import live  # noqa: PLC0415
        from plugin.top.following import Following  # noqa: PLC0415

        live(Following(settings.reach, settings), settings, state)
        return 0
    missing: list[str] = []
    query = {"fieldSelector": f"metadata.name={settings.node}"} if settings.node else {}
    objects = settings.reach.items(paths.NODES, query, metadata_only=True)
    beats = beating(settings.reach, settings.lease_namespace, missing)
    for text in missing:
        warn(text)
    nodes = sorted((with_heartbeat(published(one), beats) for one in objects), key=lambda node: node.name)
    rows = layout.rows_of(Picture(settings.reach.server, nodes), state, settings.only_namespace)
    form = Form(headers=not settings.no_headers)
    show(rendered(rows, KINDS[state.view], form), rows_whole=True)
    return 0


def _chosen(settings: TopSettings) -> State:
    view = View.NODES if settings.nodes else View.PODS
    known = layout.sortable(view)
    if settings.sort_by and settings.sort_by not in known:
        raise BadSettingError(
            f"--sort-by {settings.sort_by[:60]!r} is no column of {view}",
            f"{nearest(settings.sort_by, known)}use {', '.join(known)}",
        )
    cls = TrafficClass(settings.class_) if settings.class_ else None
    return State(view=view, sort_by=settings.sort_by, cls=cls)
