# SPDX-License-Identifier: Apache-2.0
"""A capability of a machine in three values: yes; no, with the reason; could not tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "could not tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability's answer."""

    capability: str
    answer: Presence
    detail: str = ""
    """What was found, or why it is missing or not known."""
    remedy: str = ""
    """What to run or set; empty when the answer is yes."""
    required: bool = True
    """Without a required capability nothing is measured. Without another one, figures are less exact or fewer."""
