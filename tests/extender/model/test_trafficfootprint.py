# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extender.model.demand import Demand, Origin
from extender.model.profile import Profile, Rates
from extender.model.trafficfootprint import (
    API_VERSION,
    KIND,
    PLURAL,
    Record,
    decode_record,
    new_object,
    parse_rate,
    spell_rate,
    status_of,
)
from extender.model.trafficfootprint_name import _WORKLOAD
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode
from footprint.units import MAX_RATE, quantise
from tests.extender.builders import M

CRD: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "manifests/base/crd.yaml").read_text())
SCHEMA: dict[str, Any] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

STATUS: dict[str, Any] = {
    "class": "elephant",
    "elephants": {"tx": {"typical": "150M", "peak": "190M"}, "rx": {"typical": "2M", "peak": "2M"}},
    "mice": {"weight": 0, "flowsPerSecond": 0.5},
    "samples": 12,
    "confidence": 80,
    "lastSeen": "2026-01-01T00:00:00Z",
}


def obj(spec: Any = None, status: Any = STATUS, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": "backup", "namespace": "shop", "uid": "u", "resourceVersion": "7", **metadata},
        "spec": {"workload": "CronJob/backup"} if spec is None else spec,
        **({} if status is None else {"status": status}),
    }  # fmt: skip


def problems(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """What the API server would refuse of ``value``: the part of OpenAPI that the definition uses."""
    kinds = {"object": dict, "string": str, "integer": int, "number": (int, float)}
    if not isinstance(value, kinds[schema["type"]]):  # type: ignore[arg-type]
        return [f"{path}: {value!r} is no {schema['type']}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value!r} not in {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{path}: {value!r} does not match")
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
        found.append(f"{path}: {value!r} is too long or short")
    if isinstance(value, int | float) and not schema["minimum"] <= value <= schema["maximum"]:
        found.append(f"{path}: {value!r} is out of range")
    if schema["type"] == "object" and "properties" in schema:
        found += [f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        found += [f"{path}.{name} is unknown" for name in value if name not in schema["properties"]]
        for name in value.keys() & schema["properties"].keys():
            found += problems(schema["properties"][name], value[name], f"{path}.{name}")
    return found


def test_an_object_is_read_whole() -> None:
    spec = {"workload": "CronJob/backup", "class": "mouse", "expectedBandwidth": "1.5G", "placement": "strict"}
    labels = {"app.kubernetes.io/managed-by": "traffic-footprint"}
    record = decode_record(obj(spec, labels=labels, creationTimestamp="2025-12-31T00:00:00Z"))
    assert record.key == ("shop", "CronJob/backup")
    assert record.stated == Declared(TrafficClass.MOUSE, 1.5e9, PlacementMode.STRICT)
    assert record.demand == Demand(TrafficClass.ELEPHANT, 150 * M, 2 * M, 0.0, Origin.REMEMBERED)
    assert (record.last_seen, record.created) == (1767225600.0, 1767139200.0)
    assert (record.uid, record.version, record.ours, record.problems) == ("u", "7", True, ())
    assert record.profile is not None
    assert record.profile.tx == Rates(150 * M, 190 * M)


def test_an_object_without_a_status_says_what_people_stated_and_no_more() -> None:
    absent: list[Any] = [None, {}]
    for status in absent:
        record = decode_record(obj(status=status))
        assert (record.profile, record.demand, record.last_seen, record.problems) == (None, None, None, ())
        assert not record.ours
        assert not record.overrides


def changed(path: str, value: Any) -> dict[str, Any]:
    status = copy.deepcopy(STATUS)
    *parents, last = path.split(".")
    inner = status
    for name in parents:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return status


@pytest.mark.parametrize(
    "status",
    [
        "elephant", [], 7, changed("class", None), changed("class", "unknown"), changed("class", "whale"),
        changed("class", ["elephant"]), changed("elephants", None), changed("elephants.tx", {}),
        changed("elephants.tx.typical", "fast"), changed("elephants.tx.peak", 150), changed("elephants.rx", "0"),
        changed("elephants.rx.typical", "-1M"), changed("elephants.rx.typical", "٣M"),
        changed("elephants.rx.typical", "9999T"), changed("elephants.rx.typical", "1e9"),
        changed("mice.weight", -1), changed("mice.weight", float("nan")), changed("mice.weight", float("inf")),
        changed("mice.weight", 101), changed("mice.weight", "1"), changed("mice.weight", True),
        changed("samples", 0), changed("samples", 2**60), changed("samples", 1.5), changed("samples", "3"),
        changed("lastSeen", "yesterday"), changed("lastSeen", None), changed("lastSeen", "2026-01-01T00:00:00"),
        changed("lastSeen", 7),
    ],
)  # fmt: skip
def test_a_malformed_status_counts_as_absent_and_leaves_spec_alone(status: Any) -> None:
    record = decode_record(obj({"workload": "CronJob/backup", "class": "mouse"}, status))
    assert (record.profile, record.last_seen, record.problems) == (None, None, ("status",))
    assert record.stated.cls is TrafficClass.MOUSE


@pytest.mark.parametrize(
    ("spec", "keeps_workload"),
    [
        ({"workload": "CronJob/backup", "class": "fish"}, True),
        ({"workload": "CronJob/backup", "class": ["mouse"]}, True),
        ({"workload": "CronJob/backup", "expectedBandwidth": "0"}, True),
        ({"workload": "CronJob/backup", "expectedBandwidth": 400}, True),
        ({"workload": "CronJob/backup", "placement": "never", "class": "mouse"}, True),
        ({"workload": "backup", "class": "mouse"}, False),
        ({"workload": "../x/y"}, False),
        ({"class": "mouse"}, False),
        ("CronJob/backup", False),
        ({}, False),
    ],
)
def test_a_malformed_spec_counts_as_absent_and_leaves_status_alone(spec: Any, keeps_workload: bool) -> None:
    record = decode_record(obj(spec))
    assert record.problems == ("spec",)
    assert record.stated == Declared()
    assert bool(record.workload) is keeps_workload
    assert record.profile is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, json_values, json_values)
def test_any_json_is_read_without_fail(spec: Any, status: Any, labels: Any) -> None:
    record = decode_record(obj(spec, status, labels=labels, creationTimestamp=labels, uid=spec))
    assert isinstance(record, Record)


@given(st.sampled_from([*STATUS, "elephants.tx", "elephants.tx.peak", "mice.weight"]), json_values)
def test_any_field_of_a_status_may_hold_anything(path: str, value: Any) -> None:
    assert isinstance(decode_record(obj(status=changed(path, value))), Record)


def test_an_object_without_a_name_is_refused() -> None:
    nameless: list[Any] = [{}, {"name": "x"}, {"namespace": "y"}, [], None]
    for metadata in nameless:
        with pytest.raises(ValueError, match=r"metadata\.name"):
            decode_record({"metadata": metadata})


@pytest.mark.parametrize(
    ("rate", "spelled"),
    [
        (0, "0"), (0.4, "0"), (7, "7"), (999, "1k"), (1234, "1.2k"), (150e6, "150M"), (1.55e9, "1.6G"),
        (12e12, "12T"), (MAX_RATE, "1000T"), (1e300, "1000T"), (-5, "0"), (float("nan"), "0"),
    ],
)  # fmt: skip
def test_rates_are_spelled_as_people_write_them(rate: float, spelled: str) -> None:
    assert spell_rate(rate) == spelled


@given(st.floats(1, MAX_RATE) | st.just(0.0))
def test_a_spelled_rate_is_read_back_as_quantised(rate: float) -> None:
    assert parse_rate(spell_rate(rate)) == pytest.approx(quantise(rate), rel=1e-12)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    cls = draw(st.sampled_from([cls for cls in TrafficClass if cls is not TrafficClass.UNKNOWN]))
    ways = [Rates(*sorted(draw(st.tuples(st.floats(0, 1e16), st.floats(0, 1e16))))) for _ in range(2)]
    return Profile(
        draw(st.integers(1, 2**60)), cls, 3, 1.0, 0.0, ways[0], ways[1], draw(st.floats(0, 500)),
        draw(st.floats(0, 1e12)),
    )  # fmt: skip


@given(profiles(), st.floats(0, 4e9))
def test_whatever_is_learned_the_schema_takes_and_the_reader_understands(profile: Profile, now: float) -> None:
    status = status_of(profile, now)
    assert problems(SCHEMA["properties"]["status"], status) == []
    record = decode_record(obj(status=status))
    assert record.problems == ()
    assert record.profile is not None
    assert record.profile.cls is profile.cls
    assert record.last_seen == pytest.approx(now, abs=1)
    again = status_of(record.profile, now)
    assert again == status


def test_a_new_object_is_what_the_schema_asks_for() -> None:
    made = new_object(("shop", "CronJob/backup"))
    assert problems(SCHEMA["properties"]["spec"], made["spec"]) == []
    record = decode_record({**made, "status": {}})
    assert record.key == ("shop", "CronJob/backup")
    assert record.canonical
    assert record.ours
    assert not replace(record, name="mine").canonical


def test_the_definition_and_the_code_name_the_same_things() -> None:
    names, version = CRD["spec"]["names"], CRD["spec"]["versions"][0]
    assert (f"{CRD['spec']['group']}/{version['name']}", names["kind"], names["plural"]) == (
        API_VERSION, KIND, PLURAL,
    )  # fmt: skip
    assert SCHEMA["properties"]["spec"]["properties"]["workload"]["pattern"] == f"^{_WORKLOAD.pattern}$"
    assert SCHEMA["properties"]["spec"]["properties"]["placement"]["enum"] == [p.value for p in PlacementMode]
    assert (
        status_of(Profile(2, TrafficClass.QUIET), 0.0).keys()
        == SCHEMA["properties"]["status"]["properties"].keys()
    )


def test_every_field_of_the_definition_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        found = [] if "description" in schema else [path]
        for name, inner in schema.get("properties", {}).items():
            found += undescribed(inner, f"{path}.{name}")
        return found

    assert [f for part in ("spec", "status") for f in undescribed(SCHEMA["properties"][part], part)] == []
