# SPDX-License-Identifier: Apache-2.0
"""Text between files, the cluster and a terminal.

Enters: bytes of files that people saved, and text that others wrote. Leaves: UTF-8, and text that a terminal shows
as it stands. Pure; nothing here raises.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

# The longer mark first: the one of UTF-32 begins with the one of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_ASCII: Final = re.compile(r"[^ -~]")


def utf8(data: bytes) -> bytes:
    """``data`` in UTF-8 without a byte order mark.

    PowerShell's ``>`` writes UTF-16 with a mark. As kubectl, this trusts a mark, and takes anything else as UTF-8.
    What the marked encoding cannot mean becomes U+FFFD.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").encode("utf-8", "replace")
    return data


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with every character that a terminal would act on spelled out, such as ``\\x1b``.

    That covers control characters, line breaks, marks that reverse the direction of writing, and halves of
    surrogate pairs. With ``lines``, line feeds stay.
    """
    return _NOT_ASCII.sub(lambda match: _spelled(match[0], lines), text)


def visible_json(text: str) -> str:
    """JSON ``text`` that means the same, in which no string holds a character that a terminal would act on."""
    return _NOT_ASCII.sub(lambda match: _escaped(match[0]), text)


def _spelled(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n"):
        return character
    return character.encode("unicode_escape").decode()


def _escaped(character: str) -> str:
    if character.isprintable() or character == "\n":  # between JSON's values, never inside a string
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
