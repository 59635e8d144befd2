# SPDX-License-Identifier: Apache-2.0
"""What annotations, labels and the table of instance types state."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.keys import NODE_LINK_CAPACITY
from nodeagent.node.capacity.stated import (
    EVERY,
    INSTANCE_TYPE,
    PROVISIONERS,
    Statement,
    by_instance_type,
    by_node,
    parse_capacities,
    parse_rule,
)

KARPENTER = PROVISIONERS[0]


def node(annotation: str | None = None, **labels: str) -> dict[str, Any]:
    """Keys of ``labels`` stand for: own, karpenter, type."""
    keys = {"own": NODE_LINK_CAPACITY, "karpenter": KARPENTER, "type": INSTANCE_TYPE}
    annotations = {} if annotation is None else {NODE_LINK_CAPACITY: annotation}
    return {"annotations": annotations, "labels": {keys[name]: text for name, text in labels.items()}}


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("10G", {EVERY: 10e9}),
        ("eth0=10G,eth1=25G", {"eth0": 10e9, "eth1": 25e9}),
        (" eth0 = 10G , 1G", {"eth0": 10e9, EVERY: 1e9}),
        ("bond0.100=2.5G", {"bond0.100": 2.5e9}),
    ],
)
def test_a_rate_is_for_every_interface_or_for_the_one_it_names(text: str, rates: dict[str, float]) -> None:
    assert parse_capacities(text) == rates


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a bandwidth"),
        ("fast", "'fast' is not a bandwidth"),
        ("10G,", "is not a bandwidth|given twice"),
        ("-1", "is not a bandwidth"),
        ("0", "outside the range"),
        ("=10G", "is not an interface"),
        ("a/b=10G", "'a/b' is not an interface"),
        ("eth0=1G,eth0=2G", "eth0 is given twice"),
        ("1G,2G", "given twice"),
        (",".join(f"e{n}=1G" for n in range(65)), "65 interfaces, more than 64"),
        ("1G" * 600, "1200 characters"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_capacities(text)


@pytest.mark.parametrize(
    ("metadata", "rate"),
    [
        (node("2G", own="3G", karpenter="750"), 2e9),
        (node(None, own="3G", karpenter="750"), 3e9),
        (node(None, karpenter="750"), 0.75e9),
        (node("eth0=2G"), 2e9),
        (node("eth1=2G"), 0.0),
        (node(), 0.0),
        ({}, 0.0),
        ({"annotations": None, "labels": [1]}, 0.0),
    ],
)
def test_the_annotation_wins_over_the_label_and_that_over_the_provisioners(
    metadata: dict[str, Any], rate: float
) -> None:
    found = by_node(metadata)
    assert (found.of("eth0"), found.problems) == (rate, ())


@pytest.mark.parametrize(
    ("metadata", "rate", "problem"),
    [
        (node("fast", own="3G"), 3e9, f"annotation {NODE_LINK_CAPACITY}: 'fast'"),
        (node("fast", own="slow", karpenter="750"), 0.75e9, f"label {NODE_LINK_CAPACITY}: 'slow'"),
        (node(None, karpenter="10G"), 0.0, f"label {KARPENTER}: '10G' is not a number of Mbit/s"),
        (node(None, karpenter="9999999999"), 0.0, f"label {KARPENTER}"),
    ],
)
def test_what_is_malformed_is_named_and_leaves_the_next_in_charge(
    metadata: dict[str, Any], rate: float, problem: str
) -> None:
    found = by_node(metadata)
    assert found.of("eth0") == rate
    assert any(said.startswith(problem) for said in found.problems)


@given(st.text(), st.text(), st.text())
def test_no_text_on_a_node_raises(annotation: str, label: str, karpenter: str) -> None:
    found = by_node(node(annotation, own=label, karpenter=karpenter))
    assert all(rate > 0 for rate in found.rates.values())


TABLE = [parse_rule(text) for text in ("m5.large=750M", "m5.*=10G", "Standard_D[24]s_v5=12.5G")]


@pytest.mark.parametrize(
    ("instance_type", "rate"),
    [("m5.large", 750e6), ("m5.xlarge", 10e9), ("Standard_D4s_v5", 12.5e9), ("M5.large", 0), ("m6i.large", 0)],
)
def test_the_first_pattern_that_fits_the_instance_type_wins(instance_type: str, rate: float) -> None:
    assert by_instance_type(node(type=instance_type), TABLE).of("eth0") == rate


def test_a_node_without_an_instance_type_is_in_no_row() -> None:
    assert by_instance_type(node(), [parse_rule("*=1G")]) == Statement({})


@pytest.mark.parametrize("text", ["m5.large", "=1G", "m5.*=", "m5 large=1G", "m5.*=fast", "x" * 64 + "=1G"])
def test_a_row_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_rule(text)
