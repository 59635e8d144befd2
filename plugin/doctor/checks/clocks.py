# SPDX-License-Identifier: Apache-2.0
"""Do the clocks agree?

Enters: Leases, in which a node's clock and the API server's stand side by side, and this machine's time. Leaves:
findings. Placement compares no two clocks; people who read logs and certificates do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from footprint.keys import FIELD_MANAGER, node_of_lease
from plugin.doctor.facts import Facts, items
from plugin.doctor.finding import Finding, Severity, about, of
from plugin.doctor.names import Kind, node
from plugin.doctor.objects import Object, at, moment, named, written_at

TOPIC: Final = "clocks"
APART: Final = 15.0
"""Seconds. A request may take ten, and the API server writes whole seconds."""


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on clocks."""
    off = {name: skew for lease in items(facts.leases) if (name := node_of_lease(named(lease)))
           and (skew := skew_of(lease)) is not None and abs(skew) > APART}  # fmt: skip
    if off:
        most = max(off, key=lambda name: abs(off[name]))
        way = "ahead of" if off[most] > 0 else "behind"
        yield Finding(
            "clock-of-node", TOPIC, Severity.WARNING,
            f"The clocks of {of(len(off), 'node')} differ from the API server's: {node(most)} is "
            f"{abs(off[most]):.0f} s {way} it.",
            "Placement is not touched, since it compares no clocks. Logs and Events of these nodes have the wrong "
            "time, and a certificate may count as ended or not begun there.",
            ("timedatectl status    # on the node: is its time synchronised?", "chronyc tracking"),
            **about(Kind.NODE, off),
        )  # fmt: skip
    here = (facts.here - facts.now).total_seconds()
    if abs(here) > APART:
        yield Finding(
            "clock-of-this-machine", TOPIC, Severity.NOTE,
            f"This machine's clock is {abs(here):.0f} s {'ahead of' if here > 0 else 'behind'} the API server's.",
            "Ages that kubectl computes here are wrong by that much. The doctor counts by the API server's clock.",
            ("timedatectl status    # on this machine",),
        )  # fmt: skip


def skew_of(lease: Object) -> float | None:
    """Seconds by which the agent's clock is ahead of the API server's; None where the Lease does not tell."""
    said, taken = moment(at(lease, "spec", "renewTime")), written_at(lease, FIELD_MANAGER)
    return None if said is None or taken is None else (said - taken).total_seconds()
