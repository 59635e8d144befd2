# SPDX-License-Identifier: Apache-2.0
"""Which version of the project runs.

Enters: the installed package's metadata. Leaves: a version.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(otherwise: str = "unknown") -> str:
    """The version; ``otherwise`` where a program runs from sources that were never installed."""
    try:
        return version("traffic-footprint")
    except PackageNotFoundError:
        return otherwise
