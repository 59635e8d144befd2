# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.images``: build the images that the cache lacks, or check what one was made from.

``build [nodeagent|extender|all]`` prints sizes, and where each image's bill of materials and provenance are kept.
``verify FILE`` compares a provenance statement with the files of this checkout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError
from lab.images import provenance
from lab.images.images import describe, image
from lab.images.inputs import CHECKOUT, COMPONENTS
from lab.signals import signals_end


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 when ``verify`` found differences; or 2 with one line on stderr that names the remedy."""
    options = _parser().parse_args(argv)
    try:
        if options.action == "verify":
            return _verify(options.statement)
        with signals_end():
            for component in COMPONENTS if options.component == "all" else (options.component,):
                print(describe(image(component)), flush=True)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _verify(statement: Path) -> int:
    said = provenance.read(statement)
    differences = provenance.differences(said, CHECKOUT)
    for line in differences:
        print(line)
    if not differences:
        print(f"made from this checkout: sha256:{said['subject'][0]['digest']['sha256']}")
    return 1 if differences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.images", description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build images, without a container engine, and print their sizes")
    build.add_argument("component", nargs="?", choices=[*COMPONENTS, "all"], default="all")
    verify = actions.add_parser("verify", help="compare a provenance statement with the files of this checkout")
    verify.add_argument("statement", type=Path, metavar="FILE", help="provenance.json beside the built image")
    return parser


if __name__ == "__main__":
    sys.exit(main())
