# SPDX-License-Identifier: Apache-2.0
"""Capacities that somebody states: an annotation or label of the Node, a provisioner's label, an instance type.

Enters: texts. Leaves: bit/s by interface, and a named problem for each text that is not understood. Pure.
Guarantees: no text raises. A problem leaves the next one who knows in charge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from footprint.keys import NODE_LINK_CAPACITY
from footprint.units import MAX_RATE, parse_bandwidth

EVERY: Final = ""
"""Stands for every interface that has no capacity of its own."""
MAX_TEXT: Final = 1024
"""Characters of a text that is read. Sixteen interfaces take less than half of it."""
MAX_NAMED: Final = 64
"""Interfaces in one text."""
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
PROVISIONERS: Final = (
    "karpenter.k8s.aws/instance-network-bandwidth",
    "eks.amazonaws.com/instance-network-bandwidth",
    "karpenter.k8s.oracle/instance-network-bandwidth",
)
"""Labels with the instance's bandwidth in Mbit/s. On AWS it is the baseline: what an instance keeps up when its
credits are used up. Karpenter for AWS, EKS Auto Mode and Karpenter for Oracle Cloud set them."""
_INTERFACE: Final = re.compile(r"[^/\s:=,]{1,15}")
_MEGABITS: Final = re.compile(r"[1-9]\d{0,9}")

Rates = Mapping[str, float]
"""Interface, or EVERY, → bit/s per direction."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was stated, and what of it was not understood."""

    rates: Rates
    problems: tuple[str, ...] = ()

    def of(self, interface: str) -> float:
        """bit/s; 0 when nothing is stated for ``interface``."""
        return self.rates.get(interface) or self.rates.get(EVERY, 0.0)


NOTHING_STATED: Final = Statement({})


@dataclass(frozen=True, slots=True)
class TypeRule:
    """A row of the table by instance type."""

    pattern: str
    """A glob, such as ``m5.*``."""
    rate: float
    """bit/s."""


def parse_capacities(text: str) -> Rates:
    """``10G``, or by interface ``eth0=10G,eth1=25G``; a rate without a name is for every other interface.

    A label's value cannot hold ``=`` or ``,``: there it is one rate. Raises ValueError, which names the form.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"{len(text)} characters, more than {MAX_TEXT}")
    rates: dict[str, float] = {}
    for part in text.split(","):
        name, equals, rate = part.rpartition("=")
        name = name.strip()
        if equals and not _INTERFACE.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is not an interface; write 10G, or eth0=10G,eth1=25G")
        if name in rates:
            raise ValueError(f"{name or 'a rate for every interface'} is given twice")
        rates[name] = parse_bandwidth(rate)
    if len(rates) > MAX_NAMED:
        raise ValueError(f"{len(rates)} interfaces, more than {MAX_NAMED}")
    return rates


def parse_rule(text: str) -> TypeRule:
    """``m5.*=750M``. Raises ValueError, which names the form."""
    pattern, equals, rate = text.strip().rpartition("=")
    if not equals or not re.fullmatch(r"[-\w.*?\[\]!]{1,63}", pattern):
        raise ValueError(f"{text[:60]!r} is not PATTERN=RATE, such as m5.*=750M")
    return TypeRule(pattern, parse_bandwidth(rate))


def parse_table(text: str) -> tuple[TypeRule, ...]:
    """``m5.large=750M,m5.*=10G``. Raises ValueError, which names the row."""
    return tuple(parse_rule(row) for row in text.split(",")) if text.strip() else ()


def by_node(metadata: Mapping[str, Any]) -> Statement:
    """What annotation, label and provisioner's label of a Node state; the first of them that is understood."""
    annotations, labels = _texts(metadata, "annotations"), _texts(metadata, "labels")
    problems: list[str] = []
    for kind, texts in (("annotation", annotations), ("label", labels)):
        if (text := texts.get(NODE_LINK_CAPACITY)) is not None:
            try:
                return Statement(parse_capacities(text), tuple(problems))
            except ValueError as error:
                problems.append(f"{kind} {NODE_LINK_CAPACITY}: {error}")
    for key in PROVISIONERS:
        if (text := labels.get(key)) is not None:
            if _MEGABITS.fullmatch(text) and int(text) * 1e6 <= MAX_RATE:
                return Statement({EVERY: int(text) * 1e6}, tuple(problems))
            problems.append(f"label {key}: {text[:60]!r} is not a number of Mbit/s")
    return Statement({}, tuple(problems))


def by_instance_type(metadata: Mapping[str, Any], table: Sequence[TypeRule]) -> Statement:
    """The first row of ``table`` whose pattern fits the Node's instance type."""
    name = _texts(metadata, "labels").get(INSTANCE_TYPE, "")
    rate = next((rule.rate for rule in table if name and fnmatchcase(name, rule.pattern)), None)
    return NOTHING_STATED if rate is None else Statement({EVERY: rate})


def _texts(metadata: Mapping[str, Any], field: str) -> Mapping[str, str]:
    found = metadata.get(field)
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}
