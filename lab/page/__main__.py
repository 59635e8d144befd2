# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.page vendor`` writes the files from npm; ``look URL FOLDER`` takes pictures of a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.errors import LabError
from lab.page import tools


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("vendor")
    look = commands.add_parser("look")
    look.add_argument("url")
    look.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    try:
        if options.command == "vendor":
            for name, body in tools.vendored().items():
                (tools.VENDOR / name).write_bytes(body)
        else:
            print(tools.look(options.url, options.folder, quick=True))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
