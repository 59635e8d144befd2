# SPDX-License-Identifier: Apache-2.0
"""A TrafficFootprint object ⇄ what placement and the learner use of it.

Enters: any JSON that the API serves under that kind, or a profile. Leaves: a Record, or the JSON of an object or
of its status. Pure. Guarantees: a malformed ``spec`` or ``status`` counts as absent, and ``problems`` names it.
Rates are spelled as users spell them (``150M``), with two significant digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field

from extender.model.demand import Demand
from extender.model.pods import NOTHING_DECLARED, WorkloadKey
from extender.model.profile import Profile, Rates, known, remembered
from extender.model.trafficfootprint_name import object_name, valid_workload
from footprint.classes import TrafficClass
from footprint.declared import Declared, declared_by
from footprint.keys import GROUP, POD_CLASS, POD_EXPECTED_BANDWIDTH, POD_PLACEMENT
from footprint.units import MAX_RATE, MIN_RATE, parse_bandwidth, quantise

VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "TrafficFootprint"
PLURAL: Final = "trafficfootprints"

MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "traffic-footprint")
"""Label of the objects that the learner created, and may delete."""

_ANNOTATIONS: Final = {
    "class": POD_CLASS, "expectedBandwidth": POD_EXPECTED_BANDWIDTH, "placement": POD_PLACEMENT,
}  # fmt: skip
"""Fields of ``spec`` say of a workload what these annotations say of a pod, in the same words."""

_SUFFIXES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_RATE: Final = re.compile(r"\d{1,4}(\.\d{1,3})?[kMGT]?", re.ASCII)


def spell_rate(rate: float) -> str:
    """``150M``, ``1.5G``, ``0``: two significant digits, as the schema has it; below 1 bit/s is 0."""
    rounded = quantise(min(rate, MAX_RATE))
    for size, suffix in _SUFFIXES:
        if rounded >= size:
            return f"{rounded / size:.4g}{suffix}"
    return "0"


def parse_rate(text: str) -> float:
    """bit/s of what ``spell_rate`` writes. Raises ValueError."""
    if _RATE.fullmatch(text) is None:
        raise ValueError(f"{ascii(text)[:40]} is not a rate such as 150M")
    rate = float(text.rstrip("kMGT"))
    return 0.0 if text[-1].isdecimal() and rate < MIN_RATE else parse_bandwidth(text) if rate else 0.0


class _Strict(BaseModel):
    """Extra fields are ignored: newer releases may add some."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class _Direction(_Strict):
    typical: str
    peak: str


class _Elephants(_Strict):
    tx: _Direction
    rx: _Direction


class _Mice(_Strict):
    weight: Annotated[float, Ge(0), Le(100)]
    flows_per_second: Annotated[float, Ge(0), Le(1e9), Field(alias="flowsPerSecond")]


class _Status(_Strict):
    cls: Annotated[str, Field(alias="class")]
    elephants: _Elephants
    mice: _Mice
    samples: Annotated[int, Ge(1), Le(2**53 - 1)]
    last_seen: Annotated[str, Field(alias="lastSeen")]


_CLASSES: Final = {cls.value: cls for cls in TrafficClass if cls is not TrafficClass.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Record:
    """One TrafficFootprint, as far as it could be understood."""

    ns: str
    name: str
    uid: str = ""
    version: str = ""
    """``metadata.resourceVersion``; never compared but for equality, by the API server."""
    workload: str = ""
    """``Kind/name``; empty when it is malformed: then the object has no effect."""
    stated: Declared = NOTHING_DECLARED
    """What people wrote into ``spec``."""
    profile: Profile | None = None
    """What ``status`` says was measured; None when there is none, or a malformed one."""
    last_seen: float | None = None
    """Seconds since 1970, by the clock of the replica that wrote it."""
    created: float | None = None
    """Seconds since 1970, by the API server's clock."""
    ours: bool = False
    """The learner created it."""
    problems: tuple[str, ...] = ()
    """What was malformed: ``spec``, ``status``."""

    @property
    def key(self) -> WorkloadKey:
        return (self.ns, self.workload)

    @property
    def canonical(self) -> bool:
        """It has the name that the learner would give it."""
        return self.name == object_name(self.workload)

    @property
    def overrides(self) -> bool:
        """People stated something in it."""
        return self.stated != NOTHING_DECLARED

    @property
    def demand(self) -> Demand | None:
        """The demand that its status remembers."""
        return remembered(self.profile) if self.profile is not None else None


def _moment(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _stated(spec: Mapping[str, Any]) -> Declared:
    return declared_by({key: spec[field] for field, key in _ANNOTATIONS.items() if field in spec})


def _rates(direction: _Direction) -> Rates:
    typical, peak = parse_rate(direction.typical), parse_rate(direction.peak)
    return Rates(typical, max(typical, peak))


def _profile(status: object) -> tuple[Profile, float]:
    """Raises ValueError (pydantic's is one)."""
    found = _Status.model_validate(status)
    cls, seen = _CLASSES.get(found.cls), _moment(found.last_seen)
    if seen is None or cls is None:
        raise ValueError("no class, or lastSeen is not a moment")
    profile = known(
        found.samples,
        cls,
        tx=_rates(found.elephants.tx),
        rx=_rates(found.elephants.rx),
        mice=found.mice.weight,
        flows=found.mice.flows_per_second,
    )
    return profile, seen


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def decode_record(obj: Mapping[str, Any]) -> Record:
    """The record in an object's JSON. Raises ValueError when it has no name or namespace."""
    metadata, spec, status = _mapping(obj.get("metadata")), _mapping(obj.get("spec")), obj.get("status")
    name, ns = _text(metadata.get("name")), _text(metadata.get("namespace"))
    if not (name and ns):
        raise ValueError("an object without metadata.name and metadata.namespace")
    problems: list[str] = []
    workload, stated = _text(spec.get("workload")), _stated(spec)
    if not valid_workload(workload):
        workload, stated = "", NOTHING_DECLARED
        problems.append("spec")
    elif stated.problems:
        stated = NOTHING_DECLARED
        problems.append("spec")
    profile = last_seen = None
    if status not in (None, {}):
        try:
            profile, last_seen = _profile(status)
        except ValueError:
            problems.append("status")
    return Record(
        ns, name, _text(metadata.get("uid")), _text(metadata.get("resourceVersion")), workload, stated, profile,
        last_seen, _moment(metadata.get("creationTimestamp")),
        _mapping(metadata.get("labels")).get(MANAGED_BY[0]) == MANAGED_BY[1], tuple(problems),
    )  # fmt: skip


def new_object(key: WorkloadKey) -> dict[str, Any]:
    """The object that is created for a workload. Its status is written afterwards: creation ignores it."""
    namespace, workload = key
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": object_name(workload), "namespace": namespace, "labels": dict([MANAGED_BY]),
        },
        "spec": {"workload": workload},
    }  # fmt: skip


def _direction(rates: Rates) -> dict[str, str]:
    return {"typical": spell_rate(rates.typical), "peak": spell_rate(rates.peak)}


def timestamp(now: float) -> str:
    """``metav1.Time``: whole seconds, UTC."""
    return datetime.fromtimestamp(math.floor(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status_of(profile: Profile, now: float) -> dict[str, Any]:
    """The status that says ``profile``, seen at ``now`` (seconds since 1970). Every field, every time: a merge
    patch leaves nothing old behind."""
    return {
        "class": profile.cls.value,
        "elephants": {"tx": _direction(profile.tx), "rx": _direction(profile.rx)},
        "mice": {
            "weight": quantise(min(profile.mice, 100.0)), "flowsPerSecond": quantise(min(profile.flows, 1e9)),
        },
        "samples": min(profile.samples, 2**53 - 1),
        "confidence": profile.confidence,
        "lastSeen": timestamp(now),
    }  # fmt: skip
