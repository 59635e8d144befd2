# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint report``: look, and write one file.

Enters: flags. Leaves: an HTML file, or HTML on standard output. Raises BadSettingError for a file that cannot be
written.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from footprint.commands import BadSettingError
from footprint.text import visible
from plugin.doctor.command import look
from plugin.doctor.diagnose import diagnose
from plugin.doctor.names import Anonymiser
from plugin.report.flags import ReportSettings


def run(settings: ReportSettings) -> int:
    """Write the report. Raises ApiError, ClusterConfigError and BadSettingError."""
    if find_spec("jinja2") is None:
        raise BadSettingError(
            "the report needs the Python package jinja2", "pip install 'traffic-footprint[plugin,doctor]'"
        )
    from plugin.report.page import page  # noqa: PLC0415

    facts = look(settings)
    text = page(facts, diagnose(facts), Anonymiser() if settings.anonymise else None)
    if settings.file == "-":
        sys.stdout.write(text)
        return 0
    path = Path(settings.file)
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadSettingError(f"{settings.file} cannot be written ({error})", "name another FILE, or -") from error
    print(visible(f"wrote {path}, {len(text) // 1024 + 1} KiB; open it in a browser"))
    return 0
