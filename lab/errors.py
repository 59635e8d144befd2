# SPDX-License-Identifier: Apache-2.0
"""The error the lab raises on purpose: fact, consequence and remedy; at the edge one line, no traceback."""

from __future__ import annotations


class LabError(Exception):
    """Something the lab needs is missing or failed. The message says what to do about it."""
