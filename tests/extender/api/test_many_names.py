# SPDX-License-Identifier: Apache-2.0
"""Requests with more names than any cluster has nodes: refused before they are decoded; failing open is cheap."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.api.answers import Verbs
from extender.api.explain_request import decode_explain_request
from extender.api.metrics import Metrics
from extender.api.protocol import (
    MAX_BODY,
    MAX_CANDIDATES,
    ArgsError,
    ArgsReason,
    encode_scores,
    equal_scores,
    everything_passes,
)
from extender.placement.scoring import NEUTRAL
from footprint.keys import POD_CLASS
from tests.extender.builders import decode_request, patient, pod_json
from tests.extender.raw_http import connected, read, request
from tests.extender.running import served, small_state

POD = json.dumps(pod_json(annotations={POD_CLASS: "mouse"}))


def body(names: str) -> bytes:
    return f'{{"Pod":{POD},"NodeNames":[{names}]}}'.encode()


def filled(value: str, before: str = '"NodeNames":[', after: str = "]") -> bytes:
    """As many values as fit into the longest body."""
    head, tail = f'{{"Pod":{POD},{before}', f"{after}}}"
    count = (MAX_BODY - len(head) - len(tail)) // (len(value) + 1)
    return (head + ",".join([value] * count) + tail).encode()


def peak(act: Callable[[], object]) -> int:
    """Bytes that ``act`` takes at most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


TOO_MANY = {
    "names": filled('"a"'),
    "names with spaces": filled(' "a"'),
    "nodes": filled("{}", '"Nodes":{"items":[', "]}"),
    "values in the pod": filled("{}", '"x":[', '],"NodeNames":["a"]'),
    "a few too many names": body(",".join(['"a"'] * (MAX_CANDIDATES + 1))),
}


@pytest.mark.parametrize("kind", TOO_MANY)
def test_too_many_names_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ArgsError) as caught:
        decode_request(TOO_MANY[kind])
    assert caught.value.reason is ArgsReason.TOO_MANY_NAMES


@pytest.mark.parametrize("kind", TOO_MANY)
@pytest.mark.parametrize("decode", [decode_request, decode_explain_request])
def test_what_is_refused_costs_no_more_than_its_own_bytes(decode: Callable[[bytes], object], kind: str) -> None:
    sent = TOO_MANY[kind]

    def refused() -> None:
        with pytest.raises(ArgsError):
            decode(sent)

    assert peak(refused) < 2 * MAX_BODY


def test_they_are_answered_in_the_verbs_own_way() -> None:
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(request(TOO_MANY["names"]))
        status, _, told = read(responses)
        assert (status, "at most 20000 names" in json.loads(told)["Error"]) == (200, True)
        client.sendall(request(TOO_MANY["names"], path="/prioritize"))
        assert read(responses)[::2] == (200, b"[]")
        client.sendall(request(body(",".join(f'"n{number}"' for number in range(MAX_CANDIDATES)))))
        assert len(json.loads(read(responses)[2])["NodeNames"]) == MAX_CANDIDATES, "as many as may be"


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_failing_open_takes_no_more_memory_than_deciding(verb: str) -> None:
    state = small_state()
    sent = body(",".join(f'"node-{number:06}"' for number in range(MAX_CANDIDATES)))
    decided, late = Verbs(state, patient(), Metrics(state, {})), Verbs(state, patient(), Metrics(state, {}))

    def answer(verbs: Verbs, arrived: float) -> Callable[[], object]:
        read_already = verbs.read(sent)
        return lambda: getattr(verbs, verb)(read_already, arrived)

    assert peak(answer(late, float("-inf"))) <= 1.02 * peak(answer(decided, float("inf")))


names = st.lists(
    st.text(max_size=6) | st.sampled_from(["a", 'a","b', "\\", '"', 'a",', ',"', "ü", "x y"]), max_size=6
)


@given(names, st.booleans())
def test_cheap_responses_say_what_the_plain_ones_say(sent: list[str], compact: bool) -> None:
    written = json.dumps(sent, separators=(",", ":") if compact else (", ", ": "), ensure_ascii=False)
    read_back = decode_request(body(written[1:-1]))
    kept = [name for name in sent if name]
    assert json.loads(everything_passes(read_back)) == {
        "NodeNames": kept, "FailedAndUnresolvableNodes": {}, "Error": "",
    }  # fmt: skip
    assert json.loads(equal_scores(read_back)) == json.loads(encode_scores(kept, [NEUTRAL] * len(kept)))
