# SPDX-License-Identifier: Apache-2.0
"""What ``nodes`` and ``pods`` do. Raises ApiError, ClusterConfigError and BadSettingError."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from footprint.cluster import paths
from footprint.commands import BadSettingError
from plugin.listing.columns import NODES, Pod, pods_kind
from plugin.listing.flags import ListingSettings, NodesSettings, PodsSettings
from plugin.listing.gathering import Node, gather
from plugin.listing.watching import nodes_as_they_change
from plugin.namespaces import check_namespace
from plugin.output.listing import Kind, ordered, rendered
from plugin.output.watching import Changes
from plugin.terminal import show, warn

Row = TypeVar("Row")


def nodes(settings: NodesSettings) -> int:
    """Print the nodes."""
    found = gather(settings.reach, settings, settings.name)
    rows = ordered(found.nodes, NODES, settings.sort_by)
    wanted = set(settings.name)

    def rows_of(node: Node) -> list[Node]:
        return [node] if not wanted or node.name in wanted else []

    return _print(
        rows, NODES, settings, missing=found.missing, nothing="no nodes", rows_of=rows_of,
        node_of=lambda node: node.name, query=settings.selectors,
    )  # fmt: skip


def pods(settings: PodsSettings) -> int:
    """Print the pods."""
    cluster, namespace = settings.reach, settings.chosen_namespace
    matches = _Matching(settings, namespace)
    found = gather(cluster, _without_selectors(settings), [settings.node] if settings.node else ())
    kind = pods_kind(all_namespaces=namespace is None)
    rows = ordered((pod for node in found.nodes for pod in matches(node)), kind, settings.sort_by)
    if not rows and namespace is not None:
        check_namespace(cluster, namespace)
    seen = {row.pod.name for row in rows}
    for name in settings.name:
        if name not in seen:
            where = namespace or "any namespace"
            raise BadSettingError(
                f"no node agent measured a pod {name!r} in {where}",
                "check name and namespace with `kubectl get pods`; without traffic over the link a pod has no row",
            )
    where = f"in namespace {namespace}; -A shows every namespace's" if namespace else "in this cluster"
    query = {"fieldSelector": f"metadata.name={settings.node}"} if settings.node else {}
    return _print(
        rows, kind, settings, missing=found.missing, nothing=f"no measured pods {where}", rows_of=matches,
        node_of=lambda row: row.node.name, query=query,
    )  # fmt: skip


def _without_selectors(settings: PodsSettings) -> ListingSettings:
    """The selectors of ``pods`` are of pods, not of nodes."""
    return settings.model_copy(update={"selector": "", "field_selector": ""})


class _Matching:
    """The pods of a node that the flags mean."""

    def __init__(self, settings: PodsSettings, namespace: str | None) -> None:
        self._settings, self._namespace, self._names = settings, namespace, set(settings.name)
        self._selected: set[str] | None = None
        self._known: set[str] = set()

    def __call__(self, node: Node) -> Iterator[Pod]:
        found = node.published.footprint
        for pod in found.pods if found else ():
            row = Pod(pod, node)
            if self._means(row) and self._is_selected(pod.uid):
                yield row

    def _means(self, row: Pod) -> bool:
        pod, wanted = row.pod, self._settings
        return (
            self._namespace in (None, pod.ns)
            and (not self._names or pod.name in self._names)
            and wanted.class_ in (None, pod.cls)
            and wanted.workload in ("", pod.wl)
        )

    def _is_selected(self, uid: str) -> bool:
        """By labels and fields, which the API server knows. A pod that is new to us has it asked again."""
        if not self._settings.selectors:
            return True
        if self._selected is None or uid not in self._known:
            path = paths.PODS if self._namespace is None else paths.pods(self._namespace)
            listed = self._settings.reach.items(path, self._settings.selectors, metadata_only=True)
            self._selected = {str((pod.get("metadata") or {}).get("uid")) for pod in listed}
            self._known.clear()
        self._known.add(uid)
        return uid in self._selected


def _print(
    rows: Sequence[Row],
    kind: Kind[Row],
    settings: ListingSettings,
    *,
    missing: Sequence[str],
    nothing: str,
    rows_of: Callable[[Node], Iterable[Row]],
    node_of: Callable[[Row], str],
    query: dict[str, str],
) -> int:
    for text in missing:
        warn(text)
    if not settings.watch:
        if rows or not (settings.form.is_table or settings.form.name == "name"):
            show(rendered(rows, kind, settings.form, alone=len(settings.name) == 1, missing=missing),
                 rows_whole=True, end=settings.form.end)  # fmt: skip
        else:
            print(nothing, file=sys.stderr)
        return 0
    changes = Changes(kind, settings.form)
    changes.begin(rows, node_of)
    sys.stdout.flush()
    for name, node in nodes_as_they_change(settings.reach, settings.lease_namespace, query):
        changes.item(name, rows_of(node) if node is not None else ())
        sys.stdout.flush()
    return 0
