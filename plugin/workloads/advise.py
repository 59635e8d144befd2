# SPDX-License-Identifier: Apache-2.0
"""What ``advise`` does. Reads only. Raises ApiError, ClusterConfigError and BadSettingError."""

from __future__ import annotations

import json
import shlex
from typing import Final

from extender.model.trafficfootprint import API_VERSION, PLURAL, Record, spell_rate
from footprint.cluster import paths
from footprint.commands import BadSettingError
from plugin.output.flags import form_of
from plugin.output.listing import document
from plugin.terminal import show
from plugin.workloads.advice import limits, patch
from plugin.workloads.commands import named, read_records
from plugin.workloads.flags import AdviseSettings

_UNSURE: Final = 50
"""Percent of confidence below which a peak may well be exceeded."""


def advise(settings: AdviseSettings) -> int:
    """Print the patch that gives a workload the limits that fit it."""
    cluster, namespace = settings.reach, settings.namespace or settings.reach.namespace
    records = read_records(cluster.items(paths.custom(API_VERSION, PLURAL, namespace)))
    record = min(named(records, settings.name), key=lambda one: (not one.canonical, one.name))
    profile = record.profile
    if profile is None:
        raise BadSettingError(
            f"nothing was measured of {record.workload or record.name} yet, so there is no peak",
            "wait until its pods have run for a minute; `kubectl footprint workloads` shows what is known",
        )
    annotations = limits(profile, settings.headroom)
    change = patch(record.workload, annotations) if annotations else {}
    form = form_of(settings.output)
    if not form.is_table:
        if change is None:
            raise BadSettingError(
                f"where {record.workload} has its pods' template is not known, or it cannot be changed",
                "leave -o out, and put the annotations that are printed into its template",
            )
        show(document(change, form), end=form.end)
        return 0
    for line in _lines(record, annotations, settings.headroom):
        show(f"# {line}")
    if not annotations:
        return 0
    if change is None:
        show("\n".join(f"{key}: {value}" for key, value in annotations.items()))
        return 0
    kind, _, name = record.workload.partition("/")
    whole = json.dumps(change, separators=(",", ":"))
    show(shlex.join(["kubectl", "-n", namespace, "patch", kind.lower(), name, "--type=merge", "-p", whole]))
    return 0


def _lines(record: Record, annotations: dict[str, str], headroom: float) -> list[str]:
    profile = record.profile
    assert profile is not None  # noqa: S101 - the caller has looked
    peaks = f"peak tx {spell_rate(profile.tx.peak)}, rx {spell_rate(profile.rx.peak)}"
    said = [f"{record.workload}: {profile.cls.value}, {peaks}, confidence {profile.confidence} %"]
    if not annotations:
        return [*said, "no elephants were seen, so no limit is advised"]
    said.append(
        f"limits are {headroom:g} times the peak; a network plugin that knows these annotations holds pods to them"
    )
    if profile.confidence < _UNSURE:
        said.append("few samples so far: the peak may be higher than what was seen")
    if patch(record.workload, annotations) is None:
        said.append("put these annotations into the pods' template; a patch of this kind is not known")
    else:
        said.append("the patch replaces the workload's pods")
    return said
