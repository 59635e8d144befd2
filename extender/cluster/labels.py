# SPDX-License-Identifier: Apache-2.0
"""The one label of Nodes that is read: what groups them on the live page. Enters, leaves: nothing, constants."""

from __future__ import annotations

from typing import Final

ZONE: Final = "topology.kubernetes.io/zone"
"""The label that groups nodes where nobody names another."""
MAX_LABEL: Final = 63
"""Characters of a label's value in Kubernetes."""
