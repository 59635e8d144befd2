# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.api import protocol
from extender.api.protocol import ArgsError, ArgsReason, Reader, Request, encode_filter, encode_scores
from tests.extender.builders import decode_request, node_json, pod_json

NAMES: dict[str, Any] = {"Pod": pod_json(), "Nodes": None, "NodeNames": ["a", "b"]}
NODES: dict[str, Any] = {
    "Pod": pod_json(),
    "Nodes": {"metadata": {"resourceVersion": "9"}, "items": [node_json("a"), node_json("b")]},
    "NodeNames": None,
}


def body(value: object) -> bytes:
    """As Go writes it, without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


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


def test_what_a_question_repeats_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    asked = reader.read(body({**NAMES, "NodeNames": ["a", "b", "c"]}))
    passed = ["a", "c"]
    reader.expect(b'["a","c"]', passed)
    monkeypatch.setattr("orjson.loads", None)
    scored = reader.read(body({**NAMES, "NodeNames": passed}))
    assert scored.names is passed
    assert scored.pod is asked.pod
    assert reader.read(body({**NAMES, "NodeNames": ["a", "b", "c"]})).names is asked.names, "filter may ask again"


def test_names_go_back_as_they_were_written_unless_some_are_left_out() -> None:
    assert decode_request(body(NAMES)).written == b'["a","b"]'
    assert decode_request(body({**NAMES, "NodeNames": ["a", ""]})).written is None
    assert decode_request(body(NODES)).written is None


_POD = body(pod_json())
keys = st.sampled_from([b'"Pod"', b'"Nodes"', b'"NodeNames"', b'"x\\"', b'"y,\\"NodeNames\\":"', b'"z'])
values = st.sampled_from(
    [
        _POD, b'{"metadata":{"name":"q"},"NodeNames":["z"]}', b"null", b"{}", b"[]", b'["a"]', b'["a","b"]',
        b'["c",""]', b'["a",1]', b'[["a"]]', b'[{"a":"b"}]', b'["\\u0061"]', b'["\\ud800"]', b'["a"],', b'["a"]]',
        b"[NaN]", b"1e999", b'"a,\\"NodeNames\\":["',
    ]
)  # fmt: skip
bodies = st.lists(st.tuples(keys, values), min_size=1, max_size=4).map(
    lambda members: b"{" + b",".join(key + b":" + value for key, value in members) + b"}"
)


def told(read: Callable[[bytes], Request], sent: bytes) -> tuple[object, ...]:
    try:
        request = read(sent)
    except ArgsError as error:
        return (error.reason,)
    return (request.pod, request.names, request.nodes)


@given(st.lists(bodies, max_size=4), st.lists(st.sampled_from(["a", "b", "c"]), max_size=3))
def test_whatever_was_read_before_a_body_says_what_its_model_says(before: list[bytes], passed: list[str]) -> None:
    reader = Reader()
    for sent in [*before, body(NAMES), *before]:
        assert told(reader.read, sent) == told(protocol._model_request, sent)
        reader.expect(body(passed), passed)
