# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence, and every licence that is named is here in full."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[1]
MUST: Final = re.compile(
    r"\.(py|c|h|sh|go|tpl|toml|ya?ml)$|(^|/)(Dockerfile|Makefile|run)$|^helm/[^/]+/templates/"
)
LINE: Final = re.compile(r"SPDX-License-Identifier: (\S+)")
GPL: Final = "GPL-2.0-only"
APACHE: Final = "Apache-2.0"


def sources() -> list[str]:
    """Paths of the checkout's files that must name a licence: known to git, or new."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if MUST.search(path) and (CHECKOUT / path).exists()]


def licence_of(path: str) -> str | None:
    """What the first three lines say: one may be ``#!``, one may say who made the file."""
    match = LINE.search("\n".join((CHECKOUT / path).read_text().splitlines()[:3]))
    return match[1] if match else None


def test_every_source_file_names_its_licence() -> None:
    """Add the line ``SPDX-License-Identifier: Apache-2.0`` as a comment at the head of each file listed here."""
    assert len(sources()) > 500
    assert [path for path in sources() if licence_of(path) is None] == []


def test_what_is_loaded_into_the_kernel_is_under_the_kernels_licence_and_nothing_else_is() -> None:
    """Two files of the tests include the kernel side's headers, so that they are works under their licence."""
    under_gpl = {path for path in sources() if licence_of(path) == GPL}
    assert under_gpl == {path for path in sources() if path.startswith("bpf/")} | {
        "tests/bpf/helpers.c",
        "tests/kernel/guest/datapath.bpf.c",
    }
    assert {licence_of(path) for path in sources()} == {GPL, APACHE}


def test_each_licence_is_here_in_full() -> None:
    assert sorted(path.name for path in (CHECKOUT / "LICENSES").iterdir()) == [
        f"{APACHE}.txt", f"{GPL}.txt", "MIT.txt",
    ]  # fmt: skip
    vendored = (CHECKOUT / "extender/page/web/vendor/uPlot.LICENSE.txt").read_text()
    assert "Permission is hereby granted, free of charge" in (CHECKOUT / "LICENSES" / "MIT.txt").read_text()
    assert "Permission is hereby granted, free of charge" in vendored
    assert (CHECKOUT / "LICENSE").read_text() == (CHECKOUT / "LICENSES" / f"{APACHE}.txt").read_text()
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in (CHECKOUT / "LICENSE").read_text()
    assert "Version 2, June 1991" in (CHECKOUT / "LICENSES" / f"{GPL}.txt").read_text()
