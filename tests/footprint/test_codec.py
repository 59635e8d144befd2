# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from footprint.classes import TrafficClass
from footprint.codec import MAX_BYTES, DecodeReason, FootprintError, decode, encode, quantised
from footprint.models import MAX_UPLINKS, LinkRates, NodeFootprint, PodFootprint, Uplink
from tests import fuzzing
from tests.footprint.strategies import nodes
from tests.fuzzing import mutations

LINK = LinkRates(200e6, 200e6)
LINKS = (
    Uplink("eth0", LINK, "driver", used=LinkRates(1e6, 0)),
    Uplink("eth1", LinkRates(1e9, 1e9), "assumed", 0.25, LINK, LINK, ("tx",)),
)


def pod(number: int, **values: object) -> PodFootprint:
    base = PodFootprint(
        uid=f"00000000-0000-4000-8000-{number:012d}", ns="a-namespace-of-some-length",
        name=f"web-frontend-7d4b9c6f8d-{number:05d}", wl="Deployment/web-frontend",
        cls=TrafficClass.MOUSE, tx=1e6 + number, rx=2e6, nf=12.3, ms=0.987, el=1, etx=5e5, erx=4e5,
    )  # fmt: skip
    return replace(base, **values)  # type: ignore[arg-type]


def outcome(raw: bytes | str) -> NodeFootprint | DecodeReason:
    try:
        return decode(raw)
    except FootprintError as error:
        return error.reason


@given(nodes)
def test_decoding_what_was_encoded_gives_the_quantised_value(node: NodeFootprint) -> None:
    encoded = encode(node)
    assert encoded.cut == 0
    assert decode(encoded.text) == quantised(node)


@given(nodes)
def test_encoding_is_deterministic_and_stable_under_a_round_trip(node: NodeFootprint) -> None:
    text = encode(node).text
    shuffled = replace(node, pods=node.pods[::-1], ended=node.ended[::-1])
    if len({p.uid for p in node.pods}) == len(node.pods) and len({p.uid for p in node.ended}) == len(node.ended):
        assert encode(shuffled).text == text
    assert encode(decode(text)).text == text


@given(st.integers(0, 40).map(lambda n: 500 + 25 * n), st.text("az-09.", min_size=1, max_size=200))
@settings(max_examples=25)
def test_it_never_exceeds_64_kib_and_states_how_many_pods_it_left_out(count: int, name: str) -> None:
    node = NodeFootprint(src="ctnetlink", cap=LINK, pods=tuple(pod(n, name=name) for n in range(count)))
    encoded = encode(node)
    assert len(encoded.text.encode()) <= MAX_BYTES
    read = decode(encoded.text)
    assert len(read.pods) + read.cut == count
    assert read.cut == encoded.cut > 0


def test_the_largest_running_pods_are_kept_and_ended_pods_go_first() -> None:
    running = tuple(pod(n, tx=float(n)) for n in range(200))
    ended = tuple(pod(1000 + n, tx=1e9) for n in range(400))
    read = decode(encode(NodeFootprint(src="s", cap=LINK, pods=running, ended=ended)).text)
    assert len(read.pods) == 200
    assert 0 < len(read.ended) < 400
    small = encode(NodeFootprint(src="s", cap=LINK, pods=running, ended=ended), max_bytes=8_000)
    kept = decode(small.text)
    assert not kept.ended
    assert [p.uid for p in kept.pods] == [p.uid for p in quantised(NodeFootprint("s", LINK, running)).pods][
        : len(kept.pods)
    ]
    assert len(small.text) <= 8_000


def test_a_node_that_was_already_cut_adds_up() -> None:
    node = NodeFootprint(src="s", cap=LINK, pods=tuple(pod(n) for n in range(600)), cut=7)
    assert decode(encode(node).text).cut == encode(node).cut + 7


def test_a_bound_too_small_for_an_empty_node_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 10"):
        encode(NodeFootprint(src="s", cap=LINK), max_bytes=10)


@settings(max_examples=fuzzing.examples("annotations", 0.1))
@given(st.binary(max_size=300) | st.text(max_size=300))
@example(b"[" * 60_000)
@example(b'{"a":' * 9_000)
@example("\ud800")
@example(b'{"src":"\\ud800","cap":{}}')
@example(b'{"src":"s","cap":{},"v":1' + b"0" * 5000 + b"}")
def test_any_bytes_decode_to_a_value_or_a_named_error(raw: bytes | str) -> None:
    fuzzing.tried("annotations")
    assert isinstance(outcome(raw), NodeFootprint | DecodeReason)


def test_no_mutated_annotation_does_more_than_name_its_defect() -> None:
    valid = [
        encode(NodeFootprint(src="ebpf", cap=LINK)).text.encode(),
        encode(
            NodeFootprint(src="s", cap=LINK, pods=(pod(1), pod(2)), ended=(pod(3),), el=LINK, cut=1)
        ).text.encode(),
        encode(NodeFootprint(src="s", cap=LINK, up="eth1", by="driver", uplinks=LINKS)).text.encode(),
    ]
    for raw, which in mutations("annotations", valid, 0.8):
        assert isinstance(outcome(raw), NodeFootprint | DecodeReason), which


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["tx", "uid", "pods", "v"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=fuzzing.examples("annotations", 0.1))
@given(st.dictionaries(st.sampled_from(["v", "src", "cap", "pods", "ended", "el", "cut", "bad", "x"]), _json))
def test_any_json_decodes_to_a_value_or_a_named_error(value: dict[str, object]) -> None:
    fuzzing.tried("annotations")
    assert isinstance(outcome(json.dumps(value)), NodeFootprint | DecodeReason)


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        ("", DecodeReason.NOT_JSON, "EOF"),
        ("null", DecodeReason.SHAPE, "value"),
        ("{}", DecodeReason.SHAPE, "src"),
        ('{"src":"s","cap":{"tx":NaN}}', DecodeReason.SHAPE, "cap.tx"),
        ('{"src":"s","cap":{"tx":1e400}}', DecodeReason.SHAPE, "cap.tx"),
        ('{"src":"s","cap":{"tx":-1}}', DecodeReason.SHAPE, "cap.tx"),
        ('{"src":"s","cap":{"tx":"200M"}}', DecodeReason.SHAPE, "cap.tx"),
        ('{"src":"s","cap":{},"el":{"rx":1e16}}', DecodeReason.SHAPE, "el.rx"),
        (
            '{"src":"s","cap":{},"pods":[{"uid":"u","ns":"n","name":"x","wl":"w","cls":"whale"}]}',
            DecodeReason.SHAPE,
            "cls",
        ),
        ('{"src":"s","cap":{},"uplinks":[{"name":"e","cap":{"tx":-1}}]}', DecodeReason.SHAPE, "uplinks.0.cap.tx"),
        ('{"src":"s","cap":{},"sure":1.5}', DecodeReason.SHAPE, "sure"),
        ('{"src":"s","cap":{},"full":["\\u001b"]}', DecodeReason.SHAPE, "full"),
        (
            '{"src":"s","cap":{},"uplinks":[' + ",".join(['{"name":"e"}'] * (MAX_UPLINKS + 1)) + "]}",
            DecodeReason.SHAPE,
            "uplinks",
        ),
        ('{"src":"s","cap":{},"v":2}', DecodeReason.VERSION, "version 2"),
        ('{"v":2,"something":"new"}', DecodeReason.VERSION, "version 2"),
        ('{"src":"s","cap":{},"x":"' + "y" * MAX_BYTES + '"}', DecodeReason.TOO_LARGE, "bytes"),
    ],
)
def test_what_is_not_a_footprint_is_refused_by_name(text: str, reason: DecodeReason, says: str) -> None:
    with pytest.raises(FootprintError, match=says) as refused:
        decode(text)
    assert refused.value.reason is reason


def test_unknown_keys_of_a_newer_agent_are_passed_over() -> None:
    assert decode('{"src":"s","cap":{"tx":1,"burst":2},"v":1,"new":[1]}') == NodeFootprint("s", LinkRates(1, 0))


def test_the_wire_is_readable_and_leaves_out_what_absence_says() -> None:
    node = NodeFootprint(
        src="ctnetlink", cap=LINK, pods=(PodFootprint("u", "n", "p", "Job/j", TrafficClass.QUIET),)
    )
    assert encode(node).text == (
        '{"cap":{"rx":200000000,"tx":200000000},'
        '"pods":[{"uid":"u","ns":"n","name":"p","wl":"Job/j","cls":"quiet"}],"src":"ctnetlink","v":1}'
    )


def test_each_of_several_links_is_written_by_name_without_what_absence_says() -> None:
    node = NodeFootprint(src="s", cap=LINK, up="eth0", by="driver", uplinks=LINKS[::-1])
    text = encode(node).text
    assert text == (
        '{"by":"driver","cap":{"rx":200000000,"tx":200000000},"src":"s","up":"eth0","uplinks":['
        '{"by":"driver","cap":{"rx":200000000,"tx":200000000},"name":"eth0","used":{"rx":0,"tx":1000000}},'
        '{"by":"assumed","cap":{"rx":1000000000,"tx":1000000000},"el":{"rx":200000000,"tx":200000000},'
        '"full":["tx"],"name":"eth1","sure":0.25,"used":{"rx":200000000,"tx":200000000}}],"v":1}'
    )
    assert decode(text).uplinks == LINKS


def test_what_an_agent_of_before_wrote_says_nothing_of_where_its_capacity_came_from() -> None:
    read = decode('{"cap":{"rx":200000000,"tx":200000000},"src":"ctnetlink","v":1}')
    assert (read.up, read.by, read.sure, read.used, read.full, read.uplinks) == ("", "", 0.0, LinkRates(), (), ())


def test_a_word_of_a_newer_agent_about_its_capacity_is_read() -> None:
    assert decode('{"cap":{"tx":1},"by":"guessed:later","src":"s"}').by == "guessed:later"


def test_a_capacity_too_small_to_be_one_is_not_known_on_any_link() -> None:
    read = decode('{"cap":{},"src":"s","uplinks":[{"name":"a","cap":{"tx":0.1,"rx":5}},{"name":"b"}]}')
    assert [link.cap for link in read.uplinks] == [LinkRates(0, 5), LinkRates()]


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "[link=http://x]a[/link]", "a b", "\u202e", '"', "x" * 254])
@pytest.mark.parametrize("field", ["uid", "ns", "name", "wl"])
def test_names_that_would_be_more_than_names_to_a_terminal_are_refused(field: str, name: str) -> None:
    text = encode(NodeFootprint(src="s", cap=LINK, pods=(pod(1, **{field: name}),))).text
    assert outcome(text) is DecodeReason.SHAPE
    assert outcome(json.dumps({"src": name, "cap": {}})) is DecodeReason.SHAPE
    assert outcome(json.dumps({"src": "s", "cap": {}, "bad": [name]})) is DecodeReason.SHAPE
