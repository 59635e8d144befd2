# SPDX-License-Identifier: Apache-2.0
"""What runs before the Python environment exists: packages, tiers of ``make test``. Standard library only."""
