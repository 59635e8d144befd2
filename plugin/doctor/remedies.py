# SPDX-License-Identifier: Apache-2.0
"""Commands that change a release, spelled for the one that was looked at.

Enters: facts, and values of the chart. Leaves: a command as people type it. Pure.
"""

from __future__ import annotations

from typing import Final

from plugin.doctor.facts import COMPONENT, Facts, items
from plugin.doctor.names import namespace, thing
from plugin.doctor.objects import label

CHART: Final = "helm/traffic-footprint"
NAME: Final = "traffic-footprint"
"""Of a release, where nothing says another."""
INSTANCE: Final = "app.kubernetes.io/instance"
_MANAGER: Final = "app.kubernetes.io/managed-by"


def release_name(facts: Facts) -> str:
    """What Helm calls the release."""
    for one in (*items(facts.daemonsets), *items(facts.deployments)):
        if label(one, COMPONENT) and (name := label(one, INSTANCE)):
            return name
    return NAME


def upgrade(facts: Facts, value: str = "", note: str = "") -> str:
    """Install the chart of this version over the release, with one of its values changed. ``note``: why."""
    mine = [one for one in (*items(facts.daemonsets), *items(facts.deployments)) if label(one, COMPONENT)]
    notes = [note] if note else []
    if mine and not any(label(one, _MANAGER) == "Helm" for one in mine):
        notes.append("it was not installed by Helm: change your manifests alike")
    command = f"helm upgrade {thing(release_name(facts))} {CHART} -n {namespace(facts.release)} --reuse-values"
    return command + (f" --set {value}" if value else "") + (f"    # {'; '.join(notes)}" if notes else "")
