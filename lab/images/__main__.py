# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.images build [nodeagent|extender|all]``: build what the cache lacks; print sizes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lab.errors import LabError
from lab.images.images import describe, image
from lab.images.inputs import COMPONENTS
from lab.signals import signals_end


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 2 with one line on stderr that names the remedy."""
    options = _parser().parse_args(argv)
    try:
        with signals_end():
            for component in COMPONENTS if options.component == "all" else (options.component,):
                print(describe(image(component)), flush=True)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.images", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build images, without a container engine, and print their sizes")
    build.add_argument("component", nargs="?", choices=[*COMPONENTS, "all"], default="all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
