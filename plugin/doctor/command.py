# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint doctor``: look, and tell.

Enters: flags. Leaves: findings on standard output, and the exit status that the worst one means.
"""

from __future__ import annotations

from footprint.version import installed
from plugin.doctor.diagnose import diagnose
from plugin.doctor.facts import Facts
from plugin.doctor.finding import Severity
from plugin.doctor.flags import DoctorSettings, LookSettings
from plugin.doctor.gather import gather
from plugin.doctor.rendering import rendered
from plugin.output.flags import form_of
from plugin.output.listing import document
from plugin.terminal import show


def run(settings: DoctorSettings) -> int:
    """Print the diagnosis; the exit status of its worst finding. Raises ApiError and ClusterConfigError."""
    diagnosis = diagnose(look(settings))
    form, least = form_of(settings.output), Severity(settings.severity)
    if form.is_table:
        show(rendered(diagnosis, least))
    else:
        told = diagnosis.as_json()
        told["findings"] = [one for one in told["findings"] if Severity(one["severity"]).weight >= least.weight]
        show(document(told, form), end=form.end)
    return diagnosis.exit_status


def look(settings: LookSettings) -> Facts:
    """One look at the cluster. Raises ApiError and ClusterConfigError."""
    return gather(settings.reach, settings.release_namespace, plugin_version=installed(""))
