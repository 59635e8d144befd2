# SPDX-License-Identifier: Apache-2.0
"""Which limits of Kubernetes' bandwidth annotations fit what was learned of a workload. Pure.

Enters: a record and a headroom. Leaves: annotations, and the patch that puts them on the workload's pods. A
direction without elephants gets no limit: what mice need there was not measured as a rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from extender.model.profile import Profile
from extender.model.trafficfootprint import spell_rate
from footprint.keys import POD_EGRESS_LIMIT, POD_INGRESS_LIMIT

_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicationController"), ("spec", "template")),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where kinds that a patch can change have their pods' template. A Job's cannot be changed."""


def limits(profile: Profile, headroom: float) -> dict[str, str]:
    """``headroom`` times the learned peak of each direction with elephants, rounded up to two digits."""
    peaks = {POD_EGRESS_LIMIT: profile.tx.peak, POD_INGRESS_LIMIT: profile.rx.peak}
    return {key: spell_rate(_up(peak * headroom)) for key, peak in peaks.items() if peak >= 1}


def patch(workload: str, annotations: Mapping[str, str]) -> dict[str, Any] | None:
    """A merge patch of the workload's object; None for kinds whose template is elsewhere, or cannot be changed."""
    path = _TEMPLATES.get(workload.partition("/")[0])
    if path is None:
        return None
    made: dict[str, Any] = {"metadata": {"annotations": dict(annotations)}}
    for name in reversed(path):
        made = {name: made}
    return made


def _up(rate: float) -> float:
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return math.ceil(rate / step - 1e-9) * step
