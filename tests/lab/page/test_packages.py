# SPDX-License-Identifier: Apache-2.0
"""npm's packages of the page run on what a Debian 12 machine has."""

from __future__ import annotations

import json
import re
from typing import Final

from lab.page.tools import HERE

DEBIAN_12: Final = 18
"""Major version of its package ``nodejs``."""


def test_every_package_runs_on_debians_node() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    wanted = {name: one["engines"]["node"] for name, one in packages.items() if "engines" in one}
    assert wanted
    for name, range_ in wanted.items():
        least = re.fullmatch(r">=(\d+)(\.0)*", range_)
        assert least, f"{name} wants {range_}: say here what that means for Node {DEBIAN_12}"
        assert int(least[1]) <= DEBIAN_12, f"{name} wants Node {range_}"
