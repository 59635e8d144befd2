# SPDX-License-Identifier: Apache-2.0
"""The columns of workloads, and a workload in JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from extender.model.profile import Profile, Rates
from extender.model.trafficfootprint import API_VERSION, PLURAL, Record
from footprint.classes import TrafficClass
from footprint.units import format_rate
from plugin.output.listing import Column, Kind, number
from plugin.published import ago

RESOURCE: Final = f"{PLURAL[:-1]}.{API_VERSION.partition('/')[0]}"
"""As kubectl names the kind of an object: ``trafficfootprint.traffic-footprint.io``."""
_IMPLIES_ELEPHANT: Final = 10e6
"""bit/s: so much stated bandwidth without a class makes an elephant."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One object, and when it was read (seconds since 1970)."""

    record: Record
    now: float

    @property
    def cls(self) -> TrafficClass | None:
        """What placement goes by; None where nothing is known."""
        stated, profile = self.record.stated, self.record.profile
        if stated.cls is not None:
            return stated.cls
        if stated.bandwidth is not None and stated.bandwidth >= _IMPLIES_ELEPHANT:
            return TrafficClass.ELEPHANT
        return profile.cls if profile is not None else None

    @property
    def origin(self) -> str:
        """``stated``, ``learned``, ``both``, or nothing."""
        stated, learned = self.record.overrides, self.record.profile is not None
        return "both" if stated and learned else "stated" if stated else "learned" if learned else "nothing"


def _profile(row: Workload) -> Profile | None:
    return row.record.profile


def _learned(text: Callable[[Profile], str]) -> Callable[[Workload], str]:
    """A cell of what was learned; ``-`` where nothing was."""
    return lambda row: "-" if row.record.profile is None else text(row.record.profile)


def _key(value: Callable[[Profile], float]) -> Callable[[Workload], float | None]:
    return lambda row: None if row.record.profile is None else value(row.record.profile)


def _age(row: Workload, moment: float | None) -> float | None:
    return None if moment is None else max(row.now - moment, 0.0)


def _ago(row: Workload, moment: float | None) -> str:
    age = _age(row, moment)
    return "-" if age is None else ago(age)


def _class(row: Workload) -> str:
    profile, cls = row.record.profile, row.cls
    told = str(cls) if cls is not None else "-"
    if profile is not None and profile.cls is not cls:
        told += f" (learned {profile.cls})"
    return told


def _stated(row: Workload) -> dict[str, Any]:
    stated = row.record.stated
    return {
        "class": None if stated.cls is None else str(stated.cls),
        "bandwidth": None if stated.bandwidth is None else number(stated.bandwidth),
        "placement": None if stated.placement is None else str(stated.placement),
    }


def _rates(rates: Rates) -> dict[str, float]:
    return {"typical": number(rates.typical), "peak": number(rates.peak)}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _object(row: Workload) -> dict[str, Any]:
    record, profile = row.record, row.record.profile
    learned = None if profile is None else {
        "class": str(profile.cls), "tx": _rates(profile.tx), "rx": _rates(profile.rx),
        "mice": {"weight": profile.mice, "flowsPerSecond": profile.flows},
        "samples": profile.samples, "confidence": profile.confidence, "lastSeen": _moment(record.last_seen),
    }  # fmt: skip
    return {
        "metadata": {"name": record.name, "namespace": record.ns, "uid": record.uid},
        "workload": record.workload, "class": None if row.cls is None else str(row.cls), "from": row.origin,
        "stated": _stated(row) if record.overrides else None, "learned": learned,
        "since": _moment(record.created), "problems": list(record.problems),
    }  # fmt: skip


def _bandwidth(row: Workload) -> str:
    stated = row.record.stated.bandwidth
    return "-" if stated is None else format_rate(stated)


_STYLES: Final = {TrafficClass.ELEPHANT: "red", TrafficClass.MIXED: "yellow", TrafficClass.MOUSE: "green"}


def _style(row: Workload) -> str:
    return _STYLES.get(row.cls, "") if row.cls is not None else ""


_COLUMNS: Final[tuple[Column[Workload], ...]] = (
    Column("WORKLOAD", lambda row: row.record.workload or f"({row.record.name})",
           key=lambda row: row.record.workload),
    Column("CLASS", _class, key=_class, style=_style),
    Column("FROM", lambda row: row.origin, key=lambda row: row.origin),
    Column("TX", _learned(lambda profile: format_rate(profile.tx.typical)), key=_key(lambda p: p.tx.typical)),
    Column("RX", _learned(lambda profile: format_rate(profile.rx.typical)), key=_key(lambda p: p.rx.typical)),
    Column("MICE/S", _learned(lambda profile: f"{profile.flows:g}"), key=_key(lambda p: p.flows)),
    Column("CONFIDENCE", _learned(lambda profile: f"{profile.confidence} %"), key=_key(lambda p: p.confidence)),
    Column("SAMPLES", _learned(lambda profile: str(profile.samples)), key=_key(lambda p: p.samples)),
    Column("SINCE", lambda row: _ago(row, row.record.created), key=lambda row: _age(row, row.record.created)),
    Column("LAST SEEN", lambda row: _ago(row, row.record.last_seen),
           key=lambda row: _age(row, row.record.last_seen)),
    Column("PEAK TX", _learned(lambda profile: format_rate(profile.tx.peak)), wide=True,
           key=_key(lambda p: p.tx.peak)),
    Column("PEAK RX", _learned(lambda profile: format_rate(profile.rx.peak)), wide=True,
           key=_key(lambda p: p.rx.peak)),
    Column("BANDWIDTH", _bandwidth, wide=True, key=lambda row: row.record.stated.bandwidth),
    Column("PLACEMENT", lambda row: str(row.record.stated.placement or "-"), wide=True),
    Column("OBJECT", lambda row: row.record.name, wide=True, key=lambda row: row.record.name),
    Column("PROBLEMS", lambda row: ", ".join(f"malformed {part}" for part in row.record.problems) or "none",
           wide=True, style=lambda row: "yellow" if row.record.problems else ""),
)  # fmt: skip


def kind(*, all_namespaces: bool) -> Kind[Workload]:
    """As kubectl, a namespace is named where there are several."""
    namespace = Column[Workload]("NAMESPACE", lambda row: row.record.ns, key=lambda row: row.record.ns)
    columns = (namespace, *_COLUMNS) if all_namespaces else _COLUMNS
    return Kind("WorkloadTraffic", "workloads", columns, lambda row: f"{RESOURCE}/{row.record.name}", _object)
