# SPDX-License-Identifier: Apache-2.0
"""The one nftables table of this agent, as text, and the form by which a change to it is noticed. Pure.

Enters: options and the uplinks' names. Leaves: scripts for ``nft -f -``. The rules act on packets of marked
connections to which nobody gave a priority. So a class that tc, another table or a program's own DSCP chose stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from nodeagent.tuning.modes import PriorityOptions

TABLE: Final = "traffic_footprint"
FAMILY: Final = "inet"
LOWER_EFFORT: Final = 1
"""DSCP of RFC 8622."""
_HOOK_PRIORITY: Final = 290
"""After source translation (100) and everybody's mangling; the last one before the queue that is ours to take."""
_UNSTABLE: Final = frozenset({"handle", "packets", "bytes"})


def table(options: PriorityOptions, uplinks: Iterable[str]) -> str:
    """The script that makes the table. DSCP is rewritten on what leaves by ``uplinks`` alone: pods of this node
    get their packets as they came."""
    mark = f"{options.mark:#x}"
    names = ", ".join(f'"{name}"' for name in sorted(set(uplinks)))
    lower = (
        f"    oifname {{ {names} }} ip dscp 0 ip dscp set {LOWER_EFFORT}\n"
        f"    oifname {{ {names} }} ip6 dscp 0 ip6 dscp set {LOWER_EFFORT}\n"
        if options.lower_effort and names
        else ""
    )
    return (
        f"table {FAMILY} {TABLE} {{\n"
        "  chain elephants {\n"
        f"    meta priority 0:0 meta priority set {options.priority} counter\n"
        f"{lower}"
        "  }\n"
        "  chain leaving {\n"
        f"    type filter hook postrouting priority {_HOOK_PRIORITY}; policy accept;\n"
        f"    ct mark and {mark} == {mark} goto elephants\n"
        "  }\n"
        "}\n"
    )


def replacing(script: str) -> str:
    """In one transaction: our table goes, and the new one comes."""
    return f"{removing()}{script}"


def removing() -> str:
    return f"delete table {FAMILY} {TABLE}\n"


def form(listing: str) -> str | None:
    """What ``nft -j list table`` says, without handles and counters; None when it is not such a listing."""
    try:
        said = json.loads(listing)["nftables"]
        kept = [_stable(one) for one in said if "metainfo" not in one]
    except (ValueError, KeyError, TypeError):
        return None
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(inner) for key, inner in value.items() if key not in _UNSTABLE}
    return [_stable(inner) for inner in value] if isinstance(value, list) else value
