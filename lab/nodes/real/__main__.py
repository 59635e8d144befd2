# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.nodes.real [--all]``: find the programs of real nodes, or build them once; print where they are.

``--all``: those that only some labs use as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lab.controlplane import build
from lab.errors import LabError
from lab.nodes.real import pins


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 2 with one line on stderr that names the remedy."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.nodes.real", description="Find the programs of real nodes, or build them once."
    )
    parser.add_argument("--all", action="store_true", help="kube-router as well, which some of the tests use")
    options = parser.parse_args(argv)
    modules = (*pins.MODULES, pins.KUBE_ROUTER_MODULE) if options.all else pins.MODULES
    try:
        for name, found in build.ensure(modules).items():
            print(f"{name} {found.version} ({found.origin}): {found.path}")
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
