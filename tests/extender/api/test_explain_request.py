# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from extender.api.explain_request import MAX_NAMES, decode_explain_request
from extender.api.protocol import ArgsError
from tests.extender.api.test_hostile import json_text
from tests.extender.builders import node_json, pod_json


def asked(question: dict[str, Any]) -> tuple[str, str, list[str] | None]:
    pod, names = decode_explain_request(json.dumps(question).encode())
    return pod.ns, pod.name, names


def test_every_form_names_the_pod_and_its_candidates() -> None:
    pod, nodes = pod_json("p", ns="n"), {"items": [node_json("a"), node_json("b")]}
    for question, names in (
        ({"Pod": pod, "Nodes": None, "NodeNames": ["a", "", "b"]}, ["a", "b"]),
        ({"Pod": pod, "Nodes": nodes}, ["a", "b"]),
        ({"Pod": pod, "NodeNames": []}, []),
        ({"Pod": pod}, None),
        ({"Pod": pod, "Nodes": None, "NodeNames": None}, None),
        (pod, None),
        ({"apiVersion": "v1", "kind": "Pod", **pod}, None),
    ):
        assert asked(question) == ("n", "p", names)


def test_a_manifest_without_a_namespace_means_the_default_one() -> None:
    assert asked({"metadata": {"name": "p"}}) == ("default", "p", None)
    assert asked({"Pod": {"metadata": {"name": "p"}}, "NodeNames": ["a"]}) == ("", "p", ["a"]), (
        "as filter reads it"
    )


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("", "send a Pod's manifest"),
        ("[]", "not an object; send a Pod's manifest"),
        ("{}", "no Pod in it; send a Pod's manifest"),
        ('{"kind":"Deployment","metadata":{"name":"d"}}', "kind 'Deployment' is no Pod"),
        ('{"kind":7,"metadata":{"name":"d"}}', "kind 7 is no Pod"),
        ('{"metadata":{}}', "a pod without metadata.name"),
        ('{"Pod":[]}', "Pod: "),
        ('{"Pod":{"metadata":{"name":"p"}},"NodeNames":"a"}', "NodeNames: "),
        ('{"Pod":{"metadata":{"name":"p"}},"NodeNames":[1]}', "NodeNames.0: "),
        ('{"Pod":{"metadata":{"name":"p"}},"Nodes":{"items":[{}]}}', "a node without metadata.name"),
        ('{"metadata":{"name":"\\ud800"}}', "hex escape"),
    ],
)
def test_what_is_no_question_is_told_what_to_send_instead(body: str, part: str) -> None:
    with pytest.raises(ArgsError) as caught:
        decode_explain_request(body.encode())
    assert part in str(caught.value)


def test_candidates_are_no_more_than_the_largest_cluster_has_nodes() -> None:
    pod, names = pod_json(), [f"n{number}" for number in range(MAX_NAMES)]
    assert asked({"Pod": pod, "NodeNames": names})[2] == names
    with pytest.raises(ArgsError, match="5001 candidates, more than 5000; leave the names out"):
        asked({"Pod": pod, "NodeNames": [*names, "one-more"]})


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 30, "1e400", "NaN"])
def test_numbers_that_nobody_reads_spoil_no_question(number: str) -> None:
    assert decode_explain_request(b'{"metadata":{"name":"p","generation":%b}}' % number.encode()).pod.name == "p"


@given(json_text)
def test_any_json_is_a_question_or_an_error_by_name(value: Any) -> None:
    for question in (value, {"Pod": value}, {"metadata": value}, {"Pod": pod_json(), "NodeNames": value}):
        try:
            pod, names = decode_explain_request(json.dumps(question).encode())
        except ArgsError:
            continue
        assert pod.name
        assert names is None or all(names)
