# SPDX-License-Identifier: Apache-2.0
"""What ``workloads`` and its two writing commands do. Raises ApiError, ClusterConfigError and BadSettingError."""

from __future__ import annotations

import sys
import time
from http import HTTPStatus
from typing import Any, Final

from extender.model.trafficfootprint import API_VERSION, KIND, PLURAL, Record, decode_record
from extender.model.trafficfootprint_name import object_name, valid_workload
from footprint.cluster import paths
from footprint.commands import BadSettingError, nearest
from plugin.cluster import Cluster, RefusedError
from plugin.connection import PROGRAM
from plugin.namespaces import check_namespace
from plugin.output.flags import form_of
from plugin.output.listing import document, ordered, rendered
from plugin.output.watching import Changes, as_they_change
from plugin.terminal import show, warn
from plugin.workloads.columns import RESOURCE, Workload, kind
from plugin.workloads.flags import ForgetSettings, StateSettings, WorkloadsSettings

_DRY: Final = {"client": " (dry run)", "server": " (server dry run)", "none": ""}


def workloads(settings: WorkloadsSettings) -> int:
    """Print what is known of workloads."""
    cluster, namespace = settings.reach, settings.chosen_namespace
    path = paths.custom(API_VERSION, PLURAL, namespace)
    records = read_records(cluster.items(path, settings.selectors))
    shown = kind(all_namespaces=namespace is None)
    for name in settings.name:
        named(records, name)
    now = time.time()
    rows = ordered(
        (Workload(record, now) for record in records if _means(record, settings)), shown, settings.sort_by
    )
    if settings.watch:
        return _watch(settings, path, rows)
    if rows or not (settings.form.is_table or settings.form.name == "name"):
        show(rendered(rows, shown, settings.form, alone=len(settings.name) == 1), rows_whole=True,
             end=settings.form.end)  # fmt: skip
        return 0
    if namespace is not None:
        check_namespace(cluster, namespace)
    where = f"in namespace {namespace}; -A shows every namespace's" if namespace else "in this cluster"
    print(f"no workloads are known {where}", file=sys.stderr)
    return 0


def _watch(settings: WorkloadsSettings, path: str, rows: list[Workload]) -> int:
    changes = Changes(kind(all_namespaces=settings.chosen_namespace is None), settings.form)
    changes.begin(rows, lambda row: _key(row.record))
    sys.stdout.flush()
    followed = as_they_change(settings.reach, path, decode=decode_record, key=_key, query=settings.selectors)
    for key, record in followed:
        means = record is not None and _means(record, settings)
        changes.item(key, [Workload(record, time.time())] if record is not None and means else ())
        sys.stdout.flush()
    return 0


def _key(record: Record) -> str:
    return f"{record.ns}/{record.name}"


def _means(record: Record, settings: WorkloadsSettings) -> bool:
    named = not settings.name or record.name in settings.name or record.workload in settings.name
    return named and (settings.class_ is None or Workload(record, 0.0).cls == settings.class_)


def read_records(objects: list[dict[str, Any]]) -> list[Record]:
    """Those that can be read, by workload; the others are told of."""
    found, unreadable = list[Record](), 0
    for one in objects:
        try:
            found.append(decode_record(one))
        except ValueError:
            unreadable += 1
    if unreadable:
        warn(f"{unreadable} TrafficFootprints cannot be read; compare them with `kubectl explain tf`")
    return sorted(found, key=lambda record: (record.ns, record.workload, record.name))


def named(records: list[Record], name: str) -> list[Record]:
    """The objects of the workload, or the one of that name. Raises BadSettingError."""
    found = [record for record in records if name in (record.name, record.workload)]
    if not found:
        known = [text for record in records for text in (record.workload, record.name) if text]
        raise BadSettingError(
            f"nothing is known of a workload {name!r} in that namespace",
            f"{nearest(name, known)}`kubectl footprint workloads` lists what is known, -n chooses a namespace",
        )
    return found


def forget(settings: ForgetSettings) -> int:
    """Delete the objects of workloads."""
    cluster, namespace = settings.reach, settings.namespace or settings.reach.namespace
    records = read_records(cluster.items(paths.custom(API_VERSION, PLURAL, namespace)))
    doomed = [record for name in settings.name for record in named(records, name)]
    for record in doomed:
        if record.overrides and not settings.with_stated:
            raise BadSettingError(
                f"people stated something of {record.workload or record.name}, which would go as well",
                "add --with-stated if that is meant; nothing was deleted",
            )
    for record in dict.fromkeys(doomed):
        if settings.dry_run != "client":
            path = paths.custom(API_VERSION, PLURAL, namespace, record.name)
            cluster.write("DELETE", path, query=_query(settings.dry_run))
        told = f"{RESOURCE}/{record.name}" if settings.output == "name" else (
            f'{RESOURCE} "{record.name}" deleted{_DRY[settings.dry_run]}'
        )  # fmt: skip
        show(told)
    return 0


def _query(dry_run: str, **more: str) -> dict[str, str]:
    return {**more, **({"dryRun": "All"} if dry_run == "server" else {})}


def state(settings: StateSettings) -> int:
    """Write ``spec`` of a workload's object."""
    cluster, namespace = settings.reach, settings.namespace or settings.reach.namespace
    before = _object(cluster, namespace, settings.name)
    if before is None:
        if not valid_workload(settings.name):
            named(read_records(cluster.items(paths.custom(API_VERSION, PLURAL, namespace))), settings.name)
        after, done = _created(cluster, namespace, settings), "created"
    else:
        after = _patched(cluster, namespace, before, settings)
        done = "unchanged" if after.get("spec") == before.get("spec") else "stated"
    name = str((after.get("metadata") or {}).get("name"))
    form = form_of(settings.output)
    if form.name == "name":
        show(f"{RESOURCE}/{name}")
    elif not form.is_table:
        show(document(_clean(after), form), end=form.end)
    else:
        show(f"{RESOURCE}/{name} {done}{_DRY[settings.dry_run]}")
    return 0


def _object(cluster: Cluster, namespace: str, name: str) -> dict[str, Any] | None:
    """The object of the workload or of that name. Where several are of one workload, the one that holds: the one
    in which people stated something, then the one with the learner's name, then the first by name."""
    if not valid_workload(name):
        try:
            return cluster.read(paths.custom(API_VERSION, PLURAL, namespace, name))
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
    objects = {
        str(one["metadata"]["name"]): one for one in cluster.items(paths.custom(API_VERSION, PLURAL, namespace))
    }
    of_it = [record for record in read_records(list(objects.values())) if record.workload == name]
    best = min(of_it, key=lambda record: (not record.overrides, not record.canonical, record.name), default=None)
    return objects[best.name] if best is not None else None


def _created(cluster: Cluster, namespace: str, settings: StateSettings) -> dict[str, Any]:
    stated = {key: value for key, value in settings.spec.items() if value is not None}
    if not stated:
        raise BadSettingError(f"nothing is stated of {settings.name} that could be taken back", "state something")
    made = {
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": object_name(settings.name), "namespace": namespace},
        "spec": {"workload": settings.name, **stated},
    }  # fmt: skip
    if settings.dry_run == "client":
        return made
    path = paths.custom(API_VERSION, PLURAL, namespace)
    query = _query(settings.dry_run, fieldManager=PROGRAM, fieldValidation="Strict")
    try:
        return cluster.write("POST", path, made, query=query, content_type="application/json")
    except RefusedError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            check_namespace(cluster, namespace)
        raise


def _patched(cluster: Cluster, namespace: str, before: dict[str, Any], settings: StateSettings) -> dict[str, Any]:
    patch = {"spec": settings.spec}
    if settings.dry_run == "client":
        spec = {**(before.get("spec") or {}), **settings.spec}
        return {**before, "spec": {key: value for key, value in spec.items() if value is not None}}
    path = paths.custom(API_VERSION, PLURAL, namespace, str(before["metadata"]["name"]))
    query = _query(settings.dry_run, fieldManager=PROGRAM, fieldValidation="Strict")
    return cluster.write("PATCH", path, patch, query=query)


def _clean(whole: dict[str, Any]) -> dict[str, Any]:
    """As kubectl prints an object: without the list of who wrote which field."""
    metadata = {key: value for key, value in (whole.get("metadata") or {}).items() if key != "managedFields"}
    return {**whole, "metadata": metadata}
