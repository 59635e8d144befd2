# SPDX-License-Identifier: Apache-2.0
"""Commands as the documentation prints them, so that tests run what people read."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).parents[3]


def commands(page: str, containing: str) -> str:
    """The one indented block of a page that has ``containing``. Raises ValueError for none or several."""
    text = (_CHECKOUT / page).read_text()
    blocks = [match[0] for match in re.finditer(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", text, re.MULTILINE)]
    found = [block for block in blocks if containing in block]
    if len(found) != 1:
        raise ValueError(f"{len(found)} blocks of {page} have {containing!r}")
    return textwrap.dedent(found[0])
