# SPDX-License-Identifier: Apache-2.0
"""Every file of the documentation that is made, and which of them are out of date.

Enters: the checkout. Leaves: paths and their texts. Guarantees: the same checkout gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lab.docs import flags, formats, metrics, pictures
from lab.docs.tables import filled
from lab.prometheus import dashboards

CHECKOUT: Final = Path(__file__).parents[2]


def made() -> Iterator[tuple[Path, str]]:
    """Each made file with the text that it should have. Raises LabError."""
    reference: Mapping[str, Mapping[str, str]] = {
        "flags.md": flags.parts(),
        "metrics.md": metrics.parts(),
        "wire-format.md": formats.wire_parts(),
        "extender-protocol.md": formats.protocol_parts(),
        "annotations.md": formats.annotation_parts(),
        "workload-identity.md": formats.workload_parts(),
        "trafficfootprint.md": formats.resource_parts(CHECKOUT),
    }
    for name, parts in reference.items():
        path = CHECKOUT / "docs" / "reference" / name
        yield path, filled(path.read_text(), parts)
    for name, text in dashboards.files().items():
        yield CHECKOUT / "helm" / "traffic-footprint" / "files" / "monitoring" / "dashboards" / name, text
    for name, picture in pictures.drawn(CHECKOUT).items():
        yield CHECKOUT / "docs" / "pictures" / name, picture


def write() -> list[Path]:
    """Write what is out of date; the paths that changed."""
    changed = []
    for path, text in made():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            changed.append(path)
    return changed


def stale() -> list[str]:
    """What is out of date, one line each, with the remedy."""
    return [
        f"{path.relative_to(CHECKOUT)}: differs from the code; run `python -m lab.docs write`"
        for path, text in made()
        if not path.exists() or path.read_text() != text
    ]
