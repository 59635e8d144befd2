# SPDX-License-Identifier: Apache-2.0
"""The error that the lab raises on purpose. Command lines show it as one line without a traceback."""

from __future__ import annotations


class LabError(Exception):
    """Something that the lab needs is missing or failed. The message says what happened and what to do."""
