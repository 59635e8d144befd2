# SPDX-License-Identifier: Apache-2.0
"""Annotations and requests by somebody who means harm: one node unknown, one named error, never more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.api.protocol import ArgsError, encode_scores, everything_passes
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.pods import decode_pod
from extender.model.snapshot import NodeState
from footprint.codec import MAX_BYTES
from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH
from tests.extender.builders import annotation, decode_request, elephant, pod_json

HOSTILE = [
    "[" * MAX_BYTES,
    '{"a":' * 10_000,
    '{"src":"x","cap":{"tx":NaN,"rx":1}}',
    '{"src":"x","cap":{"tx":Infinity,"rx":1}}',
    '{"src":"x","cap":{"tx":-1,"rx":1}}',
    '{"src":"x","cap":{"tx":1e400,"rx":1}}',
    '{"src":"x","cap":{"tx":' + "9" * 5000 + ',"rx":1}}',
    '{"src":"x","cap":{"tx":1,"rx":1},"v":' + "9" * 400 + "}",
    '{"src":"x","cap":{"tx":true,"rx":"1"}}',
    '{"src":"\\ud800","cap":{"tx":1,"rx":1}}',
    '{"src":"x","cap":null}',
    '{"src":"x","cap":{"tx":1,"rx":1},"pods":[' + "{}," * 1000 + "{}]}",
    "\ud800", "\x00", "null", "1", '""', " " * (MAX_BYTES + 1),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_annotation_makes_one_node_unknown_and_is_counted(text: str) -> None:
    state = ClusterState(stale_after=180.0)
    state.put_nodes([NodeInfo("good", annotation(elephant("e"))), NodeInfo("bad", text)])
    for name in ("good", "bad"):
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    assert state.snapshot.nodes["good"].known
    assert state.snapshot.nodes["bad"].state is NodeState.MALFORMED
    assert sum(state.malformed_footprints.values()) == 1


def test_of_duplicate_keys_the_last_counts_for_everyone() -> None:
    text = annotation(elephant("e", tx=10e6)).replace('"src":"ctnetlink"', '"src":"a","src":"ctnetlink"')
    state = ClusterState(stale_after=180.0)
    state.put_nodes([NodeInfo("n", text)])
    state.put_lease(LeaseInfo("n", "1"))
    state.apply()
    assert state.snapshot.nodes["n"].known


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_as_annotation_leaves_the_state_working(text: str) -> None:
    state = ClusterState(stale_after=180.0)
    state.put_nodes([NodeInfo("n", text)])
    assert state.apply()
    assert not state.snapshot.nodes["n"].known


json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from([POD_CLASS, POD_EXPECTED_BANDWIDTH, "x"]), json_text), json_text, json_text)
def test_a_pod_of_any_shape_is_decoded_or_refused_by_name(annotations: Any, labels: Any, owners: Any) -> None:
    metadata = {"name": "p", "annotations": annotations, "labels": labels, "ownerReferences": owners}
    body = json.dumps({"Pod": {"metadata": metadata}, "NodeNames": ["a"]}).encode()
    try:
        request = decode_request(body)
    except ArgsError:
        return
    assert request.names == ["a"]
    assert json.loads(everything_passes(request))["NodeNames"] == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"Pod":' + b"[" * 100_000,
        b'{"Pod":{"metadata":{"name":"p"}},"NodeNames":[' + b"[" * 5000,
        b'{"Pod":{"metadata":{"name":"p"}},"NodeNames":["\xff"]}',
        b'{"Pod":{"metadata":{"name":"p"}},"NodeNames":["\\ud800"]}',
        b'{"Pod":{"metadata":{"name":"p"}},"NodeNames":{"a":1}}',
        b'{"Pod":{"metadata":{"name":NaN}},"NodeNames":["a"]}',
    ],
)
def test_hostile_requests_are_errors_by_name(body: bytes) -> None:
    with pytest.raises(ArgsError):
        decode_request(body)


def test_duplicate_candidates_are_answered_as_sent() -> None:
    assert json.loads(encode_scores(["a", "a"], [5, 5])) == [{"Host": "a", "Score": 5}] * 2


def test_what_is_kept_of_a_pod_does_not_grow_with_the_pod() -> None:
    small, large = pod_json(), pod_json()
    large["metadata"]["annotations"] = {f"k{number}": "x" * 1000 for number in range(250)}
    large["metadata"]["managedFields"] = [{"x": "y" * 100_000}]
    large["spec"]["containers"] *= 100
    assert decode_pod(large) == decode_pod(small)


@pytest.mark.parametrize("number", ["9" * 400, "-1", "-" + "9" * 30, "1e400"])
def test_numbers_that_nobody_reads_spoil_no_request(number: str) -> None:
    pod = b'{"metadata":{"name":"p","generation":%b}}' % number.encode()
    assert decode_request(b'{"Pod":%b,"NodeNames":["a"]}' % pod).names == ["a"]


def test_of_a_requests_duplicate_keys_the_last_counts() -> None:
    pod = b'{"metadata":{"name":"first","name":"p"}}'
    request = decode_request(b'{"Pod":%b,"NodeNames":["a"],"NodeNames":["b"]}' % pod)
    assert (request.pod.name, request.names) == ("p", ["b"])
