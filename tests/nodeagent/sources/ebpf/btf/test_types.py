# SPDX-License-Identifier: Apache-2.0
"""Offsets and prototypes from BTF."""

from __future__ import annotations

import pytest

from nodeagent.sources.ebpf.btf import Btf, BtfError, Reason
from nodeagent.sources.ebpf.btf.types import Parameter, Place, TypeKind
from tests.nodeagent.sources.ebpf.btf.blobs import CONST, PTR, TYPEDEF, UNION, Writer


def kernel() -> Writer:
    """struct outer { int a; union { struct { char x; int y; }; long z; }; struct inner parts[3]; int *p; };"""
    writer = Writer()
    integer, char, long = writer.integer("int", 4), writer.integer("char", 1), writer.integer("long", 8)
    inner = writer.record("inner", 8, ("first", char, 0), ("second", integer, 32))
    nameless = writer.record("", 8, ("x", char, 0), ("y", integer, 32))
    union = writer.record("", 8, ("", nameless, 0), ("z", long, 0), kind=UNION)
    alias = writer.add(TYPEDEF, "inner_t", writer.add(CONST, "", inner))
    parts = writer.array(alias, 3)
    pointer = writer.add(PTR, "", writer.add(CONST, "", integer))
    outer = writer.record(
        "outer", 48, ("a", integer, 0), ("", union, 64), ("parts", parts, 128), ("p", pointer, 320)
    )
    writer.record("bits", 4, ("low", integer, 3 << 24 | 0), ("high", integer, 8), flag=True)
    writer.function(
        "do_it", ("o", writer.add(PTR, "", outer)), ("n", writer.add(TYPEDEF, "u32", integer)), ("p", pointer)
    )
    return writer


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a", Place(0, 4)),
        ("x", Place(8, 1)),
        ("y", Place(12, 4)),
        ("z", Place(8, 8)),
        ("parts", Place(16, 24)),
        ("parts[0]", Place(16, 8)),
        ("parts[2].second", Place(36, 4)),
        ("p", Place(40, 8)),
    ],
)
def test_a_member_is_found_through_anonymous_parts_arrays_and_typedefs(path: str, place: Place) -> None:
    assert Btf(kernel().blob()).place("outer", path) == place


@pytest.mark.parametrize("path", ["b", "a.b", "p.x", "parts[3]", "a[0]", "parts[0].third"])
def test_a_path_that_does_not_exist_is_named(path: str) -> None:
    with pytest.raises(BtfError) as raised:
        Btf(kernel().blob()).place("outer", path)
    assert raised.value.reason is Reason.NO_MEMBER
    assert path in str(raised.value)


def test_a_struct_that_does_not_exist_is_named() -> None:
    with pytest.raises(BtfError, match="nowhere") as raised:
        Btf(kernel().blob()).place("nowhere", "a")
    assert raised.value.reason is Reason.NO_TYPE


def test_a_bit_field_has_no_place_and_its_neighbour_has() -> None:
    btf = Btf(kernel().blob())
    assert btf.place("bits", "high").offset == 1
    with pytest.raises(BtfError, match="bit field"):
        btf.place("bits", "low")


def test_a_prototype_names_its_arguments_and_their_types() -> None:
    prototype = Btf(kernel().blob()).function("do_it")
    assert prototype is not None
    assert prototype.parameters == (
        Parameter("o", "struct outer *"),
        Parameter("n", "u32"),
        Parameter("p", "int *"),
    )
    assert prototype.index("n") == 1
    assert prototype.index("m") is None


def test_a_function_that_does_not_exist_is_none() -> None:
    assert Btf(kernel().blob()).function("outer") is None  # a struct of that name is no function


def test_a_module_builds_on_the_kernels_types_and_strings() -> None:
    below = kernel()
    base = Btf(below.blob())
    module = Writer(first=below.next_id, strings_at=base.strings_end)
    outer = base.find(TypeKind.STRUCT, "outer")
    assert outer is not None
    pointer = module.add(PTR, "", outer)
    own = module.record("wrapped", 56, ("o", outer, 0), ("next", pointer, 384))
    function = module.function("module_function", ("w", module.add(PTR, "", own)))
    btf = Btf(module.blob(), base)
    assert btf.place("wrapped", "o.parts[1].first") == Place(24, 1)
    assert btf.place("outer", "a") == Place(0, 4)
    found = btf.function("module_function")
    assert found is not None
    assert (found.id, found.parameters) == (function, (Parameter("w", "struct wrapped *"),))
    assert btf.function("do_it") is None  # the kernel's own: it is attached to by another descriptor


def test_types_that_refer_to_themselves_end_in_an_error() -> None:
    writer = Writer()
    loop = writer.add(TYPEDEF, "loop", 1)
    writer.record("s", 8, ("m", loop, 0))
    writer.record("nest", 8, ("", 3, 0))  # a struct inside itself
    btf = Btf(writer.blob())
    for struct, path in (("s", "m"), ("s", "m.x")):
        with pytest.raises(BtfError) as raised:
            btf.place(struct, path)
        assert raised.value.reason is Reason.MALFORMED
    with pytest.raises(BtfError):
        btf.place("nest", "missing")
