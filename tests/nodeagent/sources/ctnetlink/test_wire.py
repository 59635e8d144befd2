# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.ctnetlink.samples import NO_COUNTERS, Sample
from nodeagent.sources.ctnetlink.wire import Decoder, DumpPart, dump_request, ends_of, parse_key
from nodeagent.sources.tuples import FlowTuples
from tests.fuzzing import mutations
from tests.nodeagent.sources.ctnetlink import messages as made

ONE, OTHER = made.key(), made.key(src="10.0.0.3")
V6 = made.key("fd00::1", "fd00::2")


def decode(decoder: Decoder, data: bytes) -> DumpPart:
    return decoder.samples(data, len(data), 1)


def test_a_dump_is_asked_for_every_family_in_one_message() -> None:
    assert dump_request(7) == struct.pack("=IHHII", 20, 0x101, 0x301, 7, 0) + bytes(4)


def test_the_second_entry_of_a_shape_reads_like_the_first() -> None:
    decoder = Decoder()
    first = made.entry(ONE, 5, (1, 100), (2, 200))
    second = made.entry(OTHER, 0xFFFFFFFF, (3, 2**63), (4, 2**64 - 1))
    part = decode(decoder, first + second + made.done())
    assert part == DumpPart([(ONE, 5, 1, 100, 2, 200), (OTHER, 0xFFFFFFFF, 3, 2**63, 4, 2**64 - 1)], done=True)
    assert decode(decoder, second).samples == part.samples[1:]  # by the learned layout from its first byte on
    assert decoder.malformed == 0


@pytest.mark.parametrize(
    "shapes",
    [
        [made.entry(ONE, 1, (1, 2), (3, 4)), made.entry(V6, 2, (1, 2), (3, 4))],
        # Same length, other attributes: a learned layout must not read counters where none are.
        [made.entry(ONE, 1, (1, 2), (3, 4)), made.entry(ONE, 1, None, None, extra=made.attribute(4, bytes(52)))],
        [made.entry(made.key(zone=1), 1, (1, 2), (3, 4)),
         made.entry(ONE, 2, (1, 2), (3, 4), extra=made.attribute(14, bytes(4)))],
    ],
    ids=["families", "without counters", "zone or extra attribute"],
)  # fmt: skip
def test_a_layout_never_misreads_a_message_of_another_shape(shapes: list[bytes]) -> None:
    alone = [decode(Decoder(), shape).samples[0] for shape in shapes]
    together = Decoder()
    for _ in range(3):
        assert [decode(together, shape).samples[0] for shape in shapes] == alone


def test_an_entry_without_counters_says_so() -> None:
    assert decode(Decoder(), made.entry(ONE, 5, None, None)).samples == [(ONE, 5, *[NO_COUNTERS] * 4)]


def test_the_zone_belongs_to_the_key() -> None:
    keys = {decode(Decoder(), made.entry(made.key(zone=z), 5, (1, 1), (1, 1))).samples[0][0] for z in (None, 1, 2)}
    assert len(keys) == 3


def test_an_interrupted_dump_is_told_and_goes_on() -> None:
    decoder = Decoder()
    decode(decoder, made.entry(ONE, 5, (1, 100), (2, 200)))
    part = decode(decoder, made.entry(ONE, 5, (1, 100), (2, 200), flags=0x12))
    assert (part.interrupted, part.done, len(part.samples)) == (True, False, 1)


@pytest.mark.parametrize("answer", [made.error(1), made.done(errno=1)])
def test_a_refused_dump_gives_the_kernels_error(answer: bytes) -> None:
    assert decode(Decoder(), answer) == DumpPart([], done=True, errno=1)


def test_a_part_of_a_dump_that_was_given_up_is_passed_over() -> None:
    stale = made.entry(ONE, 5, (1, 100), (2, 200), sequence=9) + made.done(9)
    assert decode(Decoder(), stale) == DumpPart([])


def test_removals_carry_the_final_counters_and_the_lifetime() -> None:
    data = made.removal(ONE, 5, (1, 100), (2, 200), stamps=(10**18, 10**18 + 2 * 10**9))
    (ending,) = Decoder().endings(data, len(data))
    assert ending.sample == (ONE, 5, 1, 100, 2, 200)
    assert ending.lifetime == 2.0


def test_a_removal_without_time_stamps_has_no_lifetime_and_a_birth_is_no_removal() -> None:
    data = made.removal(ONE, 5, (1, 100), (2, 200)) + made.entry(OTHER, 6, (1, 1), (1, 1))
    (ending,) = Decoder().endings(data, len(data))
    assert ending.lifetime is None


@pytest.mark.parametrize(
    "data",
    [
        made.message(made.CT_NEW, b""),
        made.message(made.CT_NEW, ONE),
        made.message(made.CT_NEW, ONE + struct.pack("=HH", 2, 12)),
        made.message(made.CT_NEW, ONE + struct.pack("=HH", 400, 12)),
        made.message(0x999, b""),
        struct.pack("=IHHII", 8, made.CT_NEW, 0, 1, 0),
        made.entry(ONE, 5, (1, 2), (3, 4))[:60],
    ],
    ids=["empty", "no id", "attribute too short", "attribute too long", "unknown type", "length too short", "cut"],
)
def test_what_cannot_be_read_is_counted(data: bytes) -> None:
    decoder = Decoder()
    assert decode(decoder, data).samples == []
    assert decoder.malformed == 1


def test_tuples_are_parsed_with_nat_and_ports() -> None:
    key = made.key("10.0.0.1", "10.96.0.10", (40000, 80), responder="10.0.9.9", replies_to="192.0.2.1")
    pod, service, backend, masquerade = map(made.packed, ("10.0.0.1", "10.96.0.10", "10.0.9.9", "192.0.2.1"))
    assert parse_key(key) == FlowTuples(6, pod, service, backend, masquerade, 40000, 80, 80, 40000)
    assert ends_of(key) == (pod, backend)


@pytest.mark.parametrize("protocol", [1, 6, 17, 58, 132])
def test_every_protocol_and_both_families_have_tuples(protocol: int) -> None:
    ports = (0, 0) if protocol in (1, 58) else (1, 2)
    for src, dst in (("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")):
        key = made.key(src, dst, ports, protocol=protocol)
        found = parse_key(key)
        assert found is not None
        assert (found.protocol, found.orig_src_port) == (protocol, ports[0])
        assert ends_of(key) == (made.packed(src), made.packed(dst))


REAL = [
    made.entry(ONE, 5, (1, 100), (2, 200)),
    made.entry(V6, 6, None, None),
    made.removal(ONE, 5, (1, 100), (2, 200), stamps=(1, 2)),
    made.done(),
    made.error(1),
]


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(REAL)), max_size=6).map(b"".join))
def test_any_bytes_decode_without_an_exception(data: bytes) -> None:
    decoder = Decoder()
    for sample in decode(decoder, data).samples:
        parse_key(sample[0])
    decoder.endings(data, len(data))
    decoder.samples(data, len(data) // 2, 1)


@given(st.sampled_from(REAL), st.data())
def test_a_message_with_changed_bytes_decodes_without_an_exception(message: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(message * 2)
    for _ in range(data.draw(st.integers(1, 8))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    decoder = Decoder()
    decode(decoder, message)
    for sample in decode(decoder, bytes(spoiled)).samples:
        if parse_key(sample[0]) is not None:
            ends_of(sample[0])
    decoder.endings(spoiled, len(spoiled))


@given(st.binary(max_size=200))
def test_any_key_is_parsed_or_refused(key: bytes) -> None:
    parse_key(key)


class Walking(Decoder):
    """Learns no shape: every message takes the attribute walk."""

    def _learn(self, data: bytes | bytearray, at: int, length: int, found: list[Sample]) -> None:
        super()._learn(data, at, length, found)
        self._shapes.clear()


LONG = made.attribute(4, made.attribute(1, made.attribute(1, b"\3") + made.attribute(4, bytes(2)), nested=True))
ENTRIES = [
    made.entry(ONE, 5, (1, 100), (2, 200)),
    made.entry(V6, 6, (1, 100), (2, 200)),
    made.entry(made.key(zone=3), 7, (1, 100), (2, 200), extra=LONG),
    made.entry(made.key(protocol=1, ports=(0, 0)), 8, (1, 100), (2, 200), extra=made.attribute(20, bytes(16))),
    made.entry(ONE, 9, None, None),
]


def test_a_learned_shape_and_the_walk_read_every_mutated_dump_alike() -> None:
    learned, learns = Decoder(), 0
    for entry in ENTRIES:
        decode(learned, entry)
    for data, which in mutations("ctnetlink dumps", ENTRIES):
        walking, before = Walking(), learned.malformed
        shapes = dict(learned._shapes)
        expected = decode(walking, data)
        assert decode(learned, data) == expected, which
        assert learned.malformed - before == walking.malformed, which
        learns += learned._shapes != shapes
        learned._shapes = shapes
    assert learns > 100  # the mutants do reach the walk


@pytest.mark.parametrize("entry", ENTRIES[:4], ids=["IPv4", "IPv6", "zone", "ICMP"])
def test_the_kernels_usual_entries_take_the_fast_way(entry: bytes) -> None:
    decoder = Decoder()
    decode(decoder, entry)
    assert decoder._shapes.keys() == {int.from_bytes(entry[:4], sys.byteorder)}


def test_zones_are_told_apart() -> None:
    plain = parse_key(made.key("10.0.0.1", "198.51.100.7"))
    zoned = parse_key(made.key("10.0.0.1", "198.51.100.7", zone=7))
    assert plain is not None
    assert zoned is not None
    assert (plain.zone, zoned.zone) == (0, 7)
    assert zoned._replace(zone=0) == plain
