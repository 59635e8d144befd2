# SPDX-License-Identifier: Apache-2.0
"""The reference of what is stored: the footprint annotation and the TrafficFootprint resource.

Enters: the models of ``footprint``, the resource definition. Leaves: Markdown.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from extender.serving.limits import Limits
from footprint import workload_table
from footprint.classes import TrafficClass
from footprint.codec import DecodeReason
from footprint.declared import PlacementMode
from footprint.models import CapacitySource, LinkRates, NodeFootprint, PodFootprint, Uplink
from lab.docs.tables import attribute_docs, comments, markdown
from nodeagent.sources.base import LossKind

_CRD: Final = Path("manifests/base/crd.yaml")
_NAMED: Final = {
    "uid": "The pod's UID.", "ns": "Its namespace.", "name": "Its name.", "cls": "Its class.",
    "rx": "The same, received.", "erx": "The same part of `rx`.", "v": "Version of this format.",
    "tx": "Sent, bit/s.", "pods": "Running pods, largest first.",
}  # fmt: skip
"""What the code does not say, because the name says it there."""


def wire_parts() -> dict[str, str]:
    """What stands between the markers of the wire format's page."""
    return {
        "node": _fields(NodeFootprint),
        "pod": _fields(PodFootprint),
        "uplink": _fields(Uplink),
        "capacity-sources": _enum(CapacitySource),
        "rates": _fields(LinkRates),
        "classes": _enum(TrafficClass),
        "decode-reasons": _plain(DecodeReason),
        "losses": _enum(LossKind),
    }


def annotation_parts() -> dict[str, str]:
    """What stands between the markers of the page of annotations."""
    return {"placements": _enum(PlacementMode)}


def protocol_parts() -> dict[str, str]:
    """What stands between the markers of the protocol's page."""
    limits = Limits()
    rows = [
        (f"{port}.{name}", value, text)
        for port in ("main_port", "metrics_port")
        for name, value, text in _bounds(getattr(limits, port))
    ]
    rows += [row for row in _bounds(limits) if not row[0].endswith("_port")]
    table = [
        [f"`{name}`", f"{value:,}" if isinstance(value, int) else f"{value:g}", _code(text)]
        for name, value, text in rows
    ]
    return {"server-limits": markdown(["bound", "value", "meaning"], table)}


def _bounds(limits: Any) -> Iterator[tuple[str, Any, str]]:
    told = attribute_docs(type(limits))
    yield from ((field.name, getattr(limits, field.name), told.get(field.name, "")) for field in fields(limits))


def workload_parts() -> dict[str, str]:
    """What stands between the markers of the page. A row's operator is in the comment above it."""
    source = inspect.getsource(workload_table)
    told = re.findall(r"^    # (.+)\n(?:    # .+\n)*((?:    Row\(.+\n)+)", source, re.MULTILINE)
    operators = [operator for operator, rows in told for _ in rows.splitlines()]
    rows = [
        [
            operator,
            f"`{row.kind}`" if row.kind else "the owner's",
            *(f"`{key}`" if key else "" for key in (row.name, row.role)),
        ]
        for operator, row in zip(operators, workload_table.ROWS, strict=True)
    ]
    return {"operators": markdown(["made by", "kind", "label with the name", "label with the role"], rows)}


def resource_parts(checkout: Path) -> dict[str, str]:
    """What stands between the markers of the TrafficFootprint's page."""
    [version] = yaml.safe_load((checkout / _CRD).read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    columns = [
        [column["name"].upper(), f"`{column['jsonPath']}`", "`-o wide`" if column.get("priority") else ""]
        for column in version["additionalPrinterColumns"]
    ]
    return {
        "spec": _schema(schema["spec"]),
        "status": _schema(schema["status"]),
        "columns": markdown(["column", "field", "shown with"], columns),
    }


def _fields(cls: type[Any]) -> str:
    told = attribute_docs(cls)
    rows = []
    for field in fields(cls):
        default = "" if field.default is MISSING else _absent(field.default)
        rows.append([f"`{field.name}`", _code(told.get(field.name) or _NAMED.get(field.name, "")), default])
    return markdown(["key", "meaning", "absent means"], rows)


def _absent(default: object) -> str:
    if default == ():
        return "none"
    if default == "":
        return "not known"
    if isinstance(default, LinkRates):
        return "0, 0"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _code(text: str) -> str:
    return text.replace("``", "`")


def _enum(cls: type[StrEnum]) -> str:
    told = comments(cls)
    return markdown(["value", "meaning"], [[f"`{member.value}`", told.get(member.name, "")] for member in cls])


def _plain(cls: type[StrEnum]) -> str:
    return "".join(f"- `{member.value}`\n" for member in cls)


def _schema(schema: Mapping[str, Any]) -> str:
    return markdown(["field", "type", "meaning"], _rows(schema, ""))


def _rows(schema: Mapping[str, Any], path: str) -> Iterator[list[str]]:
    for name, inner in schema.get("properties", {}).items():
        values = ": " + ", ".join(f"`{value}`" for value in inner["enum"]) if "enum" in inner else ""
        yield [f"`{path}{name}`", inner["type"] + values, " ".join(inner.get("description", "").split())]
        yield from _rows(inner, f"{path}{name}.")
