# SPDX-License-Identifier: Apache-2.0
"""The running kernel's own BTF, where it publishes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodeagent.sources.ebpf.btf import Btf, BtfError, Reason
from nodeagent.sources.ebpf.btf.kernel import DIRECTORY, VMLINUX, load_kernel, load_module

needs_btf = pytest.mark.skipif(not (DIRECTORY / VMLINUX).exists(), reason="this kernel publishes no BTF")


@pytest.fixture(scope="module")
def running() -> Btf:
    return load_kernel()


@needs_btf
def test_structs_whose_layout_the_abi_fixes_are_read_right(running: Btf) -> None:
    assert running.size("in6_addr") == 16
    assert running.place("in6_addr", "in6_u.u6_addr16[3]").offset == 6
    assert running.place("bpf_insn", "imm").offset == 4
    assert running.size("list_head") == 16
    assert running.place("list_head", "prev").offset == 8


@needs_btf
def test_every_published_module_parses(running: Btf) -> None:
    for path in DIRECTORY.iterdir():
        if path.name != VMLINUX:
            module = load_module(path.name, running)
            assert module is not None
            assert module.end >= running.end


@needs_btf
@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed (apt-get install bpftool)")
def test_functions_and_structs_are_those_bpftool_shows(running: Btf) -> None:
    dumped = subprocess.run(
        ["bpftool", "btf", "dump", "-j", "file", DIRECTORY / VMLINUX], capture_output=True, check=True
    ).stdout
    types: list[dict[str, Any]] = json.loads(dumped)["types"]
    by_id = {found["id"]: found for found in types}
    assert running.end == max(by_id) + 1
    functions = [found for found in types if found["kind"] == "FUNC"]
    for found in functions[:: max(len(functions) // 200, 1)]:
        prototype = running.function(found["name"])
        assert prototype is not None
        expected = [p["name"] for p in by_id[by_id[prototype.id]["type_id"]]["params"]]
        assert [p.name for p in prototype.parameters] == [name if name != "(anon)" else "" for name in expected]
    structs = [found for found in types if found["kind"] == "STRUCT" and found["name"] != "(anon)"]
    unique = {found["name"]: found for found in reversed(structs)}
    for found in list(unique.values())[:: max(len(unique) // 200, 1)]:
        assert running.size(found["name"]) == found["size"]
        for member in found["members"][:5]:
            if member["name"] != "(anon)" and not member.get("bitfield_size") and member["bits_offset"] % 8 == 0:
                place = running.place(found["name"], member["name"])
                assert place.offset == member["bits_offset"] // 8


def test_a_kernel_without_btf_is_named(tmp_path: Path) -> None:
    with pytest.raises(BtfError) as raised:
        load_kernel(tmp_path)
    assert raised.value.reason is Reason.MISSING


@needs_btf
def test_a_module_without_btf_is_none(running: Btf) -> None:
    assert load_module("no_such_module", running) is None
