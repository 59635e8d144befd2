# SPDX-License-Identifier: Apache-2.0
"""Bytes that are not BTF, or not quite: a named error, never anything else."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.sources.ebpf.btf import Btf, BtfError, Reason
from nodeagent.sources.ebpf.btf.types import TypeKind
from tests.fuzzing import mutations
from tests.nodeagent.sources.ebpf.btf.blobs import Writer
from tests.nodeagent.sources.ebpf.btf.test_types import kernel

GOOD = kernel().blob()
NAMES = ("outer", "inner", "bits", "do_it", "int", "")
PATHS = ("a", "x", "y", "parts[2].second", "p.x", "parts", "low")


def ask_everything(data: bytes) -> None:
    """Every question; only BtfError may come."""
    with suppress(BtfError):
        btf = Btf(data)
        for name in NAMES:
            with suppress(BtfError):
                btf.function(name)
            for path in PATHS:
                with suppress(BtfError):
                    btf.place(name, path)
            with suppress(BtfError):
                btf.size(name)
            for kind in TypeKind:
                found = btf.find(kind, name)
                with suppress(BtfError):
                    btf.type_name(found or 0)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_answer_or_a_named_error(data: bytes) -> None:
    ask_everything(data)


@given(st.binary(max_size=300))
def test_any_types_behind_a_good_header_do(data: bytes) -> None:
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(data), len(data), 5)
    ask_everything(header + data + b"\0abc\0")


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_blob_does(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    ask_everything(bytes(data))


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_a_blob_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(BtfError) as raised:
        Btf(GOOD[:length])
    assert raised.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((0, b"\xeb\x9f"), Reason.BYTE_ORDER),
        ((0, b"ELF!"), Reason.MALFORMED),
        ((2, b"\x02"), Reason.VERSION),
        ((12, b"\xff\xff\xff\xff"), Reason.MALFORMED),
        ((24 + 7, b"\x1f"), Reason.MALFORMED),
    ],
    ids=["other byte order", "no magic", "newer version", "section too long", "unknown kind"],
)
def test_each_defect_has_its_name(change: tuple[int, bytes], reason: Reason) -> None:
    at, value = change
    with pytest.raises(BtfError) as raised:
        Btf(GOOD[:at] + value + GOOD[at + len(value) :])
    assert raised.value.reason is reason


def containing_itself() -> bytes:
    """A struct with two anonymous members of its own type, and one with members of the other."""
    writer = Writer()
    writer.record("outer", 8, ("", 1, 0), ("", 1, 0))
    writer.record("inner", 8, ("", 3, 0), ("", 3, 0))
    writer.record("", 8, ("", 2, 0), ("", 2, 0), ("", 2, 0))
    writer.record("int", 4, ("", 5, 0), ("", 5, 0))
    writer.add(8, "loop", 4)
    return writer.blob()


@pytest.mark.timeout(60)  # without the bound: 2 to the power of 32 steps
@pytest.mark.parametrize("name", ["outer", "inner", "int"])
def test_a_struct_that_contains_itself_twice_ends(name: str) -> None:
    with pytest.raises(BtfError) as raised:
        Btf(containing_itself()).place(name, "missing")
    assert raised.value.reason is Reason.NO_MEMBER


@pytest.mark.timeout(600)
def test_no_mutated_blob_does_more_than_name_its_defect() -> None:
    for data, which in mutations("BTF blobs", [GOOD, containing_itself()]):
        try:
            ask_everything(data)
        except Exception as error:
            raise AssertionError(which) from error
