from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.protocol import ArgsError, ArgsReason, decode_request, encode_filter, encode_scores
from tests.extender.builders import node_json, pod_json

NAMES: dict[str, Any] = {"Pod": pod_json(), "Nodes": None, "NodeNames": ["a", "b"]}
NODES: dict[str, Any] = {
    "Pod": pod_json(),
    "Nodes": {"metadata": {"resourceVersion": "9"}, "items": [node_json("a"), node_json("b")]},
    "NodeNames": None,
}


def body(value: object) -> bytes:
    return json.dumps(value).encode()


def test_node_names_are_read_and_answered() -> None:
    request = decode_request(body(NAMES))
    assert (request.pod.name, request.pod.workload, request.names) == ("web-7c9-x", "Job/bulk", ["a", "b"])
    assert json.loads(encode_filter(request, ["b"], {"a": "full"})) == {
        "NodeNames": ["b"], "FailedAndUnresolvableNodes": {"a": "full"}, "Error": "",
    }  # fmt: skip


def test_no_node_left_is_an_empty_list_not_an_absent_one() -> None:
    assert json.loads(encode_filter(decode_request(body(NAMES)), [], {}))["NodeNames"] == []


def test_full_nodes_go_back_as_they_came() -> None:
    answer = json.loads(encode_filter(decode_request(body(NODES)), ["b"], {"a": "full"}))
    assert answer["Nodes"] == {"metadata": {"resourceVersion": "9"}, "items": [node_json("b")]}
    assert "NodeNames" not in answer


def test_a_node_with_an_integer_beyond_64_bits_goes_back_too() -> None:
    sent = {**NODES, "Nodes": {"items": [{"metadata": {"name": "a"}, "big": 2**70}]}}
    assert json.loads(encode_filter(decode_request(body(sent)), ["a"], {}))["Nodes"]["items"][0]["big"] == 2**70


def test_scores_are_integers_on_the_wire() -> None:
    assert encode_scores(["a", "b"], [10, 0]) == b'[{"Host":"a","Score":10},{"Host":"b","Score":0}]'


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", ArgsReason.NOT_JSON),
        (b"{", ArgsReason.NOT_JSON),
        (b"\xff\xfe", ArgsReason.NOT_JSON),
        (b"[]", ArgsReason.SHAPE),
        (b"null", ArgsReason.SHAPE),
        (body({"NodeNames": ["a"]}), ArgsReason.SHAPE),
        (body({"pod": pod_json(), "nodenames": ["a"]}), ArgsReason.SHAPE),  # Go names, not camelCase
        (body({**NAMES, "Pod": {}}), ArgsReason.SHAPE),
        (body({**NAMES, "NodeNames": [1]}), ArgsReason.SHAPE),
        (body({**NAMES, "NodeNames": None}), ArgsReason.NO_CANDIDATES),
        (body({**NODES, "Nodes": {"items": [{}]}}), ArgsReason.SHAPE),
        (body({**NODES, "Nodes": {"items": [{"metadata": {"name": None}}]}}), ArgsReason.SHAPE),
    ],
)
def test_what_is_not_an_extender_args_is_refused_by_name(sent: bytes, reason: ArgsReason) -> None:
    with pytest.raises(ArgsError) as caught:
        decode_request(sent)
    assert caught.value.reason is reason


def test_an_empty_candidate_list_is_a_question_like_any_other() -> None:
    assert decode_request(body({**NODES, "Nodes": {"items": None}})).names == []
    assert decode_request(body({**NAMES, "NodeNames": []})).names == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": [1], "labels": "x"},
        {"annotations": {"traffic-footprint.io/class": 5, "traffic-footprint.io/workload": {}}},
        {"ownerReferences": 7},
        {"ownerReferences": [None, {"controller": True, "kind": 1, "name": []}]},
        {"ownerReferences": [{"controller": True, "kind": "ReplicaSet", "name": "x-1"}], "labels": {"a": None}},
        {"namespace": 3, "uid": None},
    ],
)
def test_wrongly_shaped_optional_fields_count_as_absent(metadata: dict[str, Any]) -> None:
    pod = decode_request(
        body({**NAMES, "Pod": {"metadata": {"name": "p", **metadata}, "spec": [], "status": 1}})
    ).pod
    assert pod.name == "p"
    assert pod.phase == "Pending"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["metadata", "name", "annotations", "items", "ownerReferences", "labels", "spec", "x"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.fixed_dictionaries({"Pod": json_values, "Nodes": json_values, "NodeNames": json_values}))
def test_any_json_is_a_request_or_a_named_error(value: dict[str, Any]) -> None:
    try:
        request = decode_request(body(value))
    except ArgsError:
        return
    json.loads(encode_filter(request, request.names, {}))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_named_error(raw: bytes) -> None:
    with pytest.raises(ArgsError):
        decode_request(raw)
