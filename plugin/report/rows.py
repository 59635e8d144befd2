# SPDX-License-Identifier: Apache-2.0
"""What the report's tables hold.

Enters: the facts of one look. Leaves: tables of cells, each of which says whether it is a name. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from extender.model.profile import Profile, Rates
from extender.model.trafficfootprint import Record, decode_record
from footprint.classes import TrafficClass
from footprint.coverage import coverage
from footprint.keys import node_of_lease
from footprint.models import NodeFootprint, PodFootprint
from footprint.summary import elephant_share
from footprint.units import format_rate
from plugin.doctor.checks.agents import renewed_at
from plugin.doctor.checks.measuring import decoded, unreadable
from plugin.doctor.checks.versions import summary
from plugin.doctor.facts import Facts, items
from plugin.doctor.names import NO_ALIASES, Aliases, Kind
from plugin.doctor.objects import named
from plugin.published import capacity, datapath

MOST: Final = 2000
"""Rows of a table: a browser lays out that many at once."""
_KINDS: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod", "Workload"}
)
"""Kinds of workloads that name nobody."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a row."""

    text: str
    kind: Kind | None = None
    """What it names; None: it is no name."""
    key: str = ""
    """What the name is within the cluster, where the text alone is not unique."""
    prefix: str = ""
    """Stands before a name, and stays."""
    share: int | None = None
    """0-100, to be drawn."""
    style: str = ""
    """A class of the page's style sheet."""

    def told(self, aliases: Aliases = NO_ALIASES) -> str:
        """The text, or what stands for it."""
        if self.kind is None or aliases is None or not self.text:
            return self.prefix + self.text
        return self.prefix + aliases(self.kind, self.key or self.text)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind of things."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    """Rows that there are; the page holds ``MOST``."""
    empty: str
    """What to say where there are none."""

    @property
    def left(self) -> int:
        return self.total - len(self.rows)


def tables(facts: Facts) -> tuple[Table, ...]:
    """All tables, in the order of the page."""
    return versions(facts), nodes(facts), pods(facts), workloads(facts)


def versions(facts: Facts) -> Table:
    """Which versions there are."""
    rows = tuple((Cell(part), Cell(version)) for part, version in summary(facts))
    return Table("Versions", ("Part", "Version"), rows, len(rows), "No version could be read.")


def _table(title: str, head: tuple[str, ...], rows: list[tuple[Cell, ...]], empty: str) -> Table:
    return Table(title, head, tuple(rows[:MOST]), len(rows), empty)


def nodes(facts: Facts) -> Table:
    """Every node, the one with the greatest share of elephants first."""
    footprints, seen = decoded(facts), _heartbeats(facts)
    bad = {name for nodes in unreadable(facts).values() for name in nodes}
    known = [named(one) for one in items(facts.nodes)]
    known.sort(key=lambda name: (-_share(footprints.get(name)), name))
    rows = [
        row for name in known for row in _node(name, footprints.get(name), seen.get(name, "none"), name in bad)
    ]
    head = (
        "Node",
        "Elephants",
        "Of link",
        "Transmits",
        "Receives",
        "Pods",
        "Source",
        "Coverage",
        "Health",
        "Lease",
    )
    return _table("Nodes", head, rows, "No node could be read.")


def _share(found: NodeFootprint | None) -> int:
    return -1 if found is None or not (found.cap.busier or found.full) else elephant_share(found)


def _node(name: str, found: NodeFootprint | None, seen: str, malformed: bool) -> Iterator[tuple[Cell, ...]]:
    first = Cell(name, Kind.NODE)
    if found is None:
        why = "its annotation is no footprint" if malformed else "no footprint"
        yield (first, *(Cell("") for _ in range(7)), Cell(why, style="warning"), Cell(seen))
        return
    share, part = _share(found), coverage(found)
    full = [f"full in {' and '.join(found.full)}"] if found.full else []
    health = ", ".join([*full, *found.bad])
    yield (
        first,
        Cell("?" if share < 0 else f"{share} %", share=None if share < 0 else share),
        Cell(capacity(found) or "not known"),
        Cell(format_rate(found.used.tx)),
        Cell(format_rate(found.used.rx)),
        Cell(_classes(found)),
        Cell(f"{found.src} ({datapath(found.src)})"),
        Cell("" if part is None else f"{100 * part:.0f} %"),
        Cell(health or "ok", style="warning" if health else ""),
        Cell(seen),
    )
    for link in found.uplinks:
        part = link.elephant_utilisation
        yield (
            Cell(f"└ {link.name}"), Cell("?" if part is None else f"{100 * part:.0f} %"),
            Cell(capacity(link) or "not known"),
            Cell(format_rate(link.used.tx)), Cell(format_rate(link.used.rx)), Cell(""), Cell(""), Cell(""),
            Cell(f"full in {' and '.join(link.full)}" if link.full else ""), Cell(""),
        )  # fmt: skip


def _classes(found: NodeFootprint) -> str:
    counts = Counter(pod.cls for pod in found.pods)
    left = [f"{found.cut} left out"] if found.cut else []
    return ", ".join([f"{counts[cls]} {cls}" for cls in TrafficClass if counts[cls]] + left) or "none"


def _heartbeats(facts: Facts) -> dict[str, str]:
    """How long ago each node's agent was heard of, by the API server's clock."""
    found: dict[str, str] = {}
    for lease in items(facts.leases):
        node, renewed = node_of_lease(named(lease)), renewed_at(lease)
        if node:
            seconds = (facts.now - renewed).total_seconds() if renewed else None
            found[node] = "unreadable" if seconds is None else f"{max(seconds, 0):.0f} s ago"
    return found


def pods(facts: Facts) -> Table:
    """Every measured pod, the busiest first."""
    found = [(pod, node) for node, said in decoded(facts).items() for pod in said.pods]
    found.sort(key=lambda one: (-one[0].busier, one[0].ns, one[0].name))
    rows = [_pod(pod, node) for pod, node in found[:MOST]]
    head = ("Namespace", "Pod", "Node", "Class", "Transmits", "Receives", "Elephants", "New flows/s", "Workload")
    return Table("Measured pods", head, tuple(rows), len(found), "No node says anything of a pod.")


def _pod(pod: PodFootprint, node: str) -> tuple[Cell, ...]:
    return (
        Cell(pod.ns, Kind.NAMESPACE),
        Cell(pod.name, Kind.POD, f"{pod.ns}/{pod.name}"),
        Cell(node, Kind.NODE),
        Cell(pod.cls, style=str(pod.cls)),
        Cell(format_rate(pod.tx)),
        Cell(format_rate(pod.rx)),
        Cell(str(pod.el)),
        Cell(f"{pod.nf:g}"),
        _named_workload(pod.ns, pod.wl),
    )


def _named_workload(space: str, name: str) -> Cell:
    """``Kind/name`` as a name, whose kind stays where it is one of Kubernetes' own."""
    kind, _, rest = name.partition("/")
    if kind in _KINDS and rest:
        return Cell(rest, Kind.WORKLOAD, f"{space}/{name}", prefix=f"{kind}/")
    return Cell(name, Kind.WORKLOAD, f"{space}/{name}")


def workloads(facts: Facts) -> Table:
    """Every TrafficFootprint, by its workload."""
    records = []
    for one in items(facts.records):
        try:
            records.append(decode_record(one))
        except ValueError:  # the doctor tells
            continue
    records.sort(key=lambda record: (record.ns, record.workload, record.name))
    rows = [_workload(record) for record in records]
    head = ("Namespace", "Workload", "Class", "Transmits", "Receives", "Mice/s", "Confidence", "Samples", "Stated")
    return _table("Workloads", head, rows, "There are no TrafficFootprints, or they could not be read.")


def _workload(record: Record) -> tuple[Cell, ...]:
    stated = [str(part) for part in (record.stated.cls, record.stated.placement) if part is not None]
    if record.stated.bandwidth is not None:
        stated.append(format_rate(record.stated.bandwidth))
    bad = [f"{part} not understood" for part in record.problems]
    return (
        Cell(record.ns, Kind.NAMESPACE),
        _named_workload(record.ns, record.workload),
        *_profile(record.profile),
        Cell(", ".join([*stated, *bad]), style="warning" if bad else ""),
    )


def _profile(profile: Profile | None) -> tuple[Cell, ...]:
    if profile is None:
        return (Cell("not measured"), *(Cell("") for _ in range(5)))
    return (
        Cell(profile.cls, style=str(profile.cls)),
        Cell(_rates(profile.tx)),
        Cell(_rates(profile.rx)),
        Cell(f"{profile.flows:g}"),
        Cell(f"{profile.confidence} %"),
        Cell(str(profile.samples)),
    )


def _rates(rates: Rates) -> str:
    return f"{format_rate(rates.typical)}, peak {format_rate(rates.peak)}" if rates.peak else "-"
