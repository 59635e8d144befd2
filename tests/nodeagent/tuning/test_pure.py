# SPDX-License-Identifier: Apache-2.0
"""What is decided without a kernel: which flows, which rules, what a journal may say, what bytes mean."""

from __future__ import annotations

import json
import math
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.base import Elephant
from nodeagent.sources.ctnetlink.wire import CT_NEW, parse_key
from nodeagent.tuning import conntrack_wire as wire
from nodeagent.tuning import journal, ruleset
from nodeagent.tuning.conntrack_wire import Entry
from nodeagent.tuning.document import document
from nodeagent.tuning.flows import End, Flow, flow_of, parse_end, wanted
from nodeagent.tuning.journal import Journal, JournalError, MarkRecord, TableRecord
from nodeagent.tuning.modes import (
    BULK,
    MOST_MARKED,
    MOST_ZONES,
    Mode,
    PriorityOptions,
    Refusal,
    parse_mark,
    parse_priority,
)
from nodeagent.tuning.part import Status
from nodeagent.tuning.priority import Plan, plan, strangers


def end(text: str) -> End:
    found = parse_end(text)
    assert found is not None
    return found


def elephant(source: str, rate: float = 1e7, *, local: bool = False) -> Elephant:
    return Elephant(("uid",), 6, source, "10.0.0.9:80", 10**8, rate, 0.0, local)


ONE, TWO, THREE = (Flow(6, end(f"10.0.0.{number}:1"), end("10.0.0.9:80")) for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("10.0.0.1:80", End(bytes([10, 0, 0, 1]), 80)),
        ("10.0.0.1", End(bytes([10, 0, 0, 1]), 0)),
        ("[fd00::1]:80", End(socket.inet_pton(socket.AF_INET6, "fd00::1"), 80)),
        ("fd00::1", End(socket.inet_pton(socket.AF_INET6, "fd00::1"), 0)),
        ("10.0.0.1:70000", None),
        ("somebody:80", None),
        ("", None),
    ],
)
def test_ends_are_read_as_sources_write_them(text: str, parsed: End | None) -> None:
    assert parse_end(text) == parsed
    if parsed is not None:
        assert str(parsed) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x2000", 0x2000), ("8192", 8192), ("0x80000000", 2**31), ("0", 0), ("3", 0), ("0x100000000", 0), ("x", 0)],
)
def test_a_mark_is_one_bit(text: str, value: int) -> None:
    if value:
        assert parse_mark(text) == value
    else:
        with pytest.raises(ValueError, match="one bit"):
            parse_mark(text)


@pytest.mark.parametrize(
    ("text", "value"), [("bulk", BULK), ("1:30", "1:30"), ("001:A", "1:a"), ("1", ""), ("1:30; drop", "")]
)
def test_a_priority_is_bulk_or_a_class(text: str, value: str) -> None:
    if value:
        assert parse_priority(text) == value
    else:
        with pytest.raises(ValueError, match="write bulk"):
            parse_priority(text)


def test_the_fastest_elephants_on_the_link_come_first() -> None:
    found = wanted(
        [elephant("10.0.0.1:1"), elephant("10.0.0.2:1", 2e7), elephant("10.0.0.3:1", 9e9, local=True)], 5
    )
    assert found == (TWO, ONE)
    assert wanted([elephant("10.0.0.1:1"), elephant("10.0.0.2:1", 2e7)], 1) == (TWO,)
    assert flow_of(elephant("[fd00::1]:1")) is None


@pytest.mark.parametrize(
    ("flows", "marked", "passed_over", "available", "expected"),
    [
        ((ONE, TWO), (), (), 5, ((ONE, TWO), (), 0)),
        ((ONE, TWO), (ONE,), (), 5, ((TWO,), (), 0)),
        ((ONE, TWO), (), (), 1, ((ONE,), (), 1)),
        ((ONE,), (TWO,), (), 0, ((), (TWO,), 1)),
        ((ONE, TWO), (), (ONE,), 5, ((TWO,), (), 0)),
        ((), (ONE, TWO), (), 0, ((), (ONE, TWO), 0)),
    ],
)
def test_marks_follow_the_elephants_within_the_budget(
    flows: tuple[Flow, ...],
    marked: tuple[Flow, ...],
    passed_over: tuple[Flow, ...],
    available: int,
    expected: Plan,
) -> None:
    assert plan(flows, marked, passed_over, available) == expected


def test_a_connection_with_our_bit_that_we_did_not_mark_is_somebody_elses() -> None:
    ours, theirs, heir = Entry(b"a", 1, 8), Entry(b"b", 2, 8), Entry(b"c", 3, 8, master=True)
    assert strangers([ours, theirs, heir], {b"a"}) == ([theirs], [heir])
    assert strangers([heir], ()) == ([heir], [])


def test_rules_touch_packets_of_marked_connections_alone() -> None:
    text = ruleset.table(PriorityOptions(mark=0x10, priority="1:1e"), ["eth0"])
    assert "ct mark and 0x10 == 0x10 goto elephants" in text
    assert "meta priority 0:0 meta priority set 1:1e" in text
    assert "dscp" not in text
    lower = ruleset.table(PriorityOptions(lower_effort=True), ["eth1", "eth0", "eth0"])
    assert 'oifname { "eth0", "eth1" } ip dscp 0 ip dscp set 1\n' in lower
    assert "dscp" not in ruleset.table(PriorityOptions(lower_effort=True), [])


def test_counters_and_handles_do_not_change_a_tables_form() -> None:
    def listing(handle: int, chain: str) -> str:
        rule = {"handle": handle, "expr": [{"counter": {"packets": handle, "bytes": handle}}, {"accept": None}]}
        return json.dumps({"nftables": [{"metainfo": {}}, {"rule": {**rule, "chain": chain}}]})

    assert ruleset.form(listing(1, "a")) == ruleset.form(listing(2, "a"))
    assert ruleset.form(listing(1, "a")) != ruleset.form(listing(1, "b"))
    assert ruleset.form("nothing") is None


def key(flow: Flow = ONE) -> bytes:
    """As the kernel would send it for a flow without translation."""
    reply = Flow(flow.protocol, flow.responder, flow.initiator)
    return wire._tuple(1, 6, *flow[1:]) + wire._tuple(2, 6, *reply[1:])


def test_a_journal_says_again_what_was_written() -> None:
    written = Journal("boot", 7, (TableRecord("form"), TableRecord(), MarkRecord(key(), 5, 0x2000)))
    assert journal.decode(journal.encode(written)) == written


def test_the_fullest_journal_can_be_read_again() -> None:
    far, near = End(b"\xff" * 16, 65535), End(b"\xfe" * 16, 65535)
    zone = wire._attribute(18, b"\xff\xff")
    longest = wire._tuple(1, 6, far, near) + wire._tuple(2, 6, near, far) + zone
    mark = MarkRecord(longest, 2**32 - 1, 2**31)
    table = TableRecord("x" * 2**16)
    written = Journal("b" * 36, 2**32 - 1, (table, *[mark] * (MOST_MARKED * MOST_ZONES)))
    assert journal.decode(journal.encode(written)) == written


@pytest.mark.parametrize(
    "record",
    [{"kind": "file", "path": "/etc/passwd"}, {"kind": "mark", "key": "00", "id": 1, "bit": 1},
     {"kind": "mark", "key": key().hex(), "id": 1, "bit": 3}, {"kind": "mark"}, 5,
     {"kind": "mark", "key": key().hex(), "id": math.inf, "bit": 1}],
)  # fmt: skip
def test_a_forged_journal_is_refused(record: object) -> None:
    with pytest.raises(JournalError):
        journal.decode(json.dumps({"v": 1, "boot": "b", "netns": 1, "records": [record]}).encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_journal_or_an_error_by_name(content: bytes) -> None:
    with pytest.raises(JournalError):
        journal.decode(content)


@given(st.binary(max_size=300))
def test_any_bytes_decode_without_an_exception(content: bytes) -> None:
    found = wire.part(content, len(content), 1)
    assert all(entry.ident >= 0 for entry in found.entries)


def test_an_entry_is_read_with_its_mark() -> None:
    body = key() + wire._attribute(12, bytes([0, 0, 0, 9])) + wire._attribute(8, bytes([0, 0, 0x20, 1]))
    message = wire._message(CT_NEW, 0, 4, socket.AF_INET, body)
    [entry] = wire.part(message, len(message), 4).entries
    assert (entry.ident, entry.mark, entry.key, entry.master) == (9, 0x2001, key(), False)
    assert wire.part(message, len(message), 5).entries == []
    assert wire.is_of(ONE, parse_key(entry.key))
    assert not wire.is_of(TWO, parse_key(entry.key))


def test_the_document_says_what_apply_would_do() -> None:
    said = json.loads(document(lambda: Status(Mode.ADVISE, rules="table", flows=(ONE,), waiting=2)))["priority"]
    assert said["mode"] == "advise"
    assert said["refused"] is None
    assert said["flows"] == [{"initiator": "10.0.0.1:1", "responder": "10.0.0.9:80", "protocol": 6}]
    refused = document(lambda: Status(Mode.APPLY, Refusal.MARK_IN_USE, "others"))
    assert json.loads(refused)["priority"]["refused"] == {"reason": "mark-in-use", "problem": "others"}
