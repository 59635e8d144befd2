# SPDX-License-Identifier: Apache-2.0
"""Which of many failures in a row are worth a line in the log: one when they begin, few while they last.

Another reason than before is news: an API server that is away for a moment and then refuses, or a certificate that
is not valid, must not stay unsaid because something else failed first.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 8
"""Different reasons that are told in one row of failures: some texts differ each time."""


class Repeats:
    """What one caller has said of its failures in a row."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def tells(self, failures: int, error: Exception) -> bool:
        """Whether to log ``error``, the ``failures``-th in a row, counted from 1."""
        if failures == 1:
            self._said.clear()
        reason = str(error)
        news = reason not in self._said and len(self._said) < MOST
        if news:
            self._said.add(reason)
        return news or failures in (1, 10) or failures % 100 == 0
