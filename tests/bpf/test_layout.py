# SPDX-License-Identifier: Apache-2.0
"""The kernel's structs and their Python mirrors, byte for byte."""

from __future__ import annotations

import ctypes
import re

import pytest

from nodeagent.sources.base import HISTOGRAM_BUCKETS
from nodeagent.sources.ebpf.compiling.build import sources
from nodeagent.sources.ebpf.kernel import layout
from nodeagent.sources.ebpf.kernel.maps import Sizes, specs

STATE = (sources() / "state.h").read_text()


class Place(ctypes.Structure):
    _fields_ = (
        ("structure", ctypes.c_char_p), ("field", ctypes.c_char_p), ("offset", ctypes.c_ulong),
        ("size", ctypes.c_ulong),
    )  # fmt: skip


def measured(helpers: ctypes.CDLL) -> dict[tuple[str, str], tuple[int, int]]:
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for place in (Place * 1000).in_dll(helpers, "test_layout"):
        if not place.structure:
            return found
        found[(place.structure.decode(), place.field.decode())] = (place.offset, place.size)
    raise AssertionError("the layout has no end")


def test_every_field_of_every_mirror_lies_where_the_compiler_puts_it(helpers: ctypes.CDLL) -> None:
    mirrored = {}
    for name, mirror in layout.MIRRORS.items():
        mirrored[(name, "")] = (0, ctypes.sizeof(mirror))
        for field in mirror._fields_:
            descriptor = getattr(mirror, field[0])
            mirrored[(name, field[0])] = (descriptor.offset, descriptor.size)
    assert mirrored == measured(helpers)


def test_every_struct_of_the_header_has_a_mirror() -> None:
    assert set(re.findall(r"^struct (\w+) \{", STATE, re.MULTILINE)) == set(layout.MIRRORS)


@pytest.mark.parametrize("name", sorted(layout.MIRRORS))
def test_no_struct_has_padding_of_the_compilers(name: str) -> None:
    mirror = layout.MIRRORS[name]
    assert sum(getattr(mirror, field[0]).size for field in mirror._fields_) == ctypes.sizeof(mirror)


def constants() -> dict[str, int]:
    """#define NAME VALUE of the header, shifts and suffixes understood."""
    found = {}
    for name, text in re.findall(r"^#define (\w+) (.+?)(?:\s*/\*.*)?$", STATE, re.MULTILINE):
        plain = re.sub(r"(?<=\d)u", "", text).strip()
        if re.fullmatch(r"[\d() <>-]+", plain):
            found[name] = int(eval(plain))  # noqa: S307 - digits and shifts only
    return found


def test_constants_are_the_headers() -> None:
    others = {"SLOT_MASK", "UNATTRIBUTED_TAG", "HOST_TAG", "CARRIER_TAG", "HISTOGRAM_BUCKETS"}
    names = {name for name in vars(layout) if name.isupper() and isinstance(getattr(layout, name), int)} - others
    known = constants()
    assert {name: known[name] for name in names} == {name: getattr(layout, name) for name in names}
    assert names > {"ORIGINAL", "SLOT_BITS", "FLOW_OLD", "EVENT_CEASED"}
    tags = (layout.UNATTRIBUTED_TAG, layout.HOST_TAG, layout.CARRIER_TAG)
    assert (known["UNATTRIBUTED"], known["HOST"], known["CARRIER"]) == tags
    assert known["BUCKETS"] == HISTOGRAM_BUCKETS


def test_statistics_are_in_the_headers_order() -> None:
    body = re.search(r"enum stat \{(.*?)\};", STATE, re.DOTALL)
    assert body is not None
    names = re.findall(r"\b(STAT_\w+)\b", body[1])
    assert tuple(names) == layout.STATS


def test_map_numbers_are_the_headers() -> None:
    text = (sources() / "maps.h").read_text()
    numbers = {name.lower(): int(number) for name, number in re.findall(r"#define MAP_(\w+) (\d+)", text)}
    made = {spec.name: spec.number for spec in specs(Sizes())}
    assert numbers == {name: made[name] for name in numbers}
    assert made.keys() - numbers.keys() == {"owners"}  # user space's own
