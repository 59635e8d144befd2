# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.nodes.real``: find the programs of real nodes, or build them once; print where they are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lab.controlplane import build
from lab.errors import LabError
from lab.nodes.real import pins


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 2 with one line on stderr that names the remedy."""
    argparse.ArgumentParser(prog="python -m lab.nodes.real", description=__doc__).parse_args(argv)
    try:
        for name, found in build.ensure(pins.MODULES).items():
            print(f"{name} {found.version} ({found.origin}): {found.path}")
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
