# SPDX-License-Identifier: Apache-2.0
"""What is tuned, or would be, as JSON for ``GET /tuning`` on the agent's port. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from nodeagent.tuning.part import Status

MOST: Final = 200
"""Flows that are named; the count is of all."""


def document(status: Callable[[], Status]) -> bytes:
    """Of the state now, as an object with a key for each part."""
    now = status()
    said = {
        "mode": now.mode.value,
        "refused": None if now.refusal is None else {"reason": now.refusal.value, "problem": now.message},
        "rules": now.rules,
        "marked": len(now.flows),
        "flows": [
            {"initiator": str(flow.initiator), "responder": str(flow.responder), "protocol": flow.protocol}
            for flow in now.flows[:MOST]
        ],
        "waiting": now.waiting,
        "unknown": now.unknown,
        "left": list(now.left),
    }
    return json.dumps({"priority": said}, indent=2).encode() + b"\n"
