# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.docs.page_picture FROM TO``: a screenshot of the live page, small enough for the documentation.

The page has few colours, so a palette of ``COLOURS`` keeps it as it is at a third of the bytes. The octree keeps
colours of which there is little, such as an elephant's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from PIL import Image

COLOURS: Final = 256
MOST_BYTES: Final = 150_000


def small(source: Path, target: Path) -> None:
    """Write ``source`` with a palette. Raises ValueError where it stays too large."""
    with Image.open(source) as picture:
        picture.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            target, optimize=True
        )
    if (size := target.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{target} has {size} bytes, more than {MOST_BYTES}; take a picture of a smaller part")


if __name__ == "__main__":
    small(*map(Path, sys.argv[1:3]))
