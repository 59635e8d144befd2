# SPDX-License-Identifier: Apache-2.0
"""Which functions are hooked, on kernels that differ."""

from __future__ import annotations

import pytest

from nodeagent.sources.ebpf.compiling.hooks import Mode, Plan, plan
from nodeagent.sources.ebpf.problems import Cause, EbpfUnavailable
from tests.nodeagent.sources.ebpf.kernels import (
    ADD,
    CONFIRM,
    DESTROY,
    FREE,
    INSERT,
    OLD_DESTROY,
    REFRESH_BYTES,
    REFRESH_SKB,
    USUAL,
    Function,
    kernel,
)


def planned(*functions: Function, mode: Mode = Mode.KPROBE, without: tuple[str, ...] = ()) -> Plan:
    return plan(kernel(functions), None, mode=mode, machine="x86_64", without=without)


@pytest.mark.parametrize(
    ("functions", "hooked", "define"),
    [
        (USUAL, (ADD, INSERT, FREE), "ACCOUNT_BY_ADD"),
        ((ADD, REFRESH_SKB, CONFIRM, FREE), (ADD, CONFIRM, FREE), "BIRTH_BY_SKB"),
        ((REFRESH_BYTES, INSERT, FREE), (REFRESH_BYTES, INSERT, FREE), "ACCOUNT_BY_BYTES"),
        ((REFRESH_SKB, INSERT, FREE), (REFRESH_SKB, INSERT, FREE), "ACCOUNT_BY_SKB"),
        ((ADD, INSERT, DESTROY), (ADD, INSERT, DESTROY), "DEATH_BY_REFERENCE"),
        ((ADD, INSERT, OLD_DESTROY), (ADD, INSERT, OLD_DESTROY), "DEATH_BY_REFERENCE"),
        ((ADD, FREE), (ADD, FREE), "ACCOUNT_BY_ADD"),
    ],
    ids=["usual", "no hash insert", "no add, 6.14", "no add, 6.1", "no free", "before 5.18", "no birth at all"],
)
def test_the_best_functions_there_are_get_hooked(
    functions: tuple[Function, ...], hooked: tuple[Function, ...], define: str
) -> None:
    found = planned(*functions)
    assert tuple(hook.function for hook in found.hooks) == tuple(name for name, _ in hooked)
    assert found.defines[define] == "1"


def test_an_entry_is_read_directly_wherever_the_hook_is_handed_one() -> None:
    assert planned(*USUAL).defines.keys().isdisjoint({"BIRTH_BY_SKB", "DEATH_BY_REFERENCE"})


def test_functions_that_refused_are_passed_over() -> None:
    found = planned(*USUAL, without=("nf_ct_acct_add", "__nf_conntrack_hash_insert", "nf_conntrack_free"))
    assert [hook.function for hook in found.hooks] == [
        "__nf_ct_refresh_acct", "__nf_conntrack_confirm", "nf_ct_destroy"
    ]  # fmt: skip


def test_arguments_that_are_not_known_are_shown() -> None:
    with pytest.raises(EbpfUnavailable) as raised:
        planned(("nf_ct_acct_add", ("ct", "dir", "bytes")), FREE)
    assert raised.value.problem.kind is Cause.UNKNOWN_PROTOTYPE
    assert "nf_ct_acct_add(ct, dir, bytes)" in str(raised.value)


def test_a_kernel_without_conntracks_functions_is_told_how_to_get_them() -> None:
    with pytest.raises(EbpfUnavailable, match="modprobe nf_conntrack") as raised:
        planned()
    assert raised.value.problem.kind is Cause.NO_CONNTRACK


def test_when_every_function_refused_that_is_the_problem() -> None:
    with pytest.raises(EbpfUnavailable, match="nf_conntrack_free and nf_ct_destroy cannot be attached") as raised:
        planned(*USUAL, without=("nf_conntrack_free", "nf_ct_destroy"))
    assert raised.value.problem.kind is Cause.ATTACH_REFUSED


@pytest.mark.parametrize("missing", ["nf_conn", "net", "sk_buff"])
def test_a_struct_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(EbpfUnavailable, match=missing) as raised:
        plan(kernel(without=missing), None, mode=Mode.KPROBE, machine="x86_64")
    assert raised.value.problem.kind is Cause.UNKNOWN_LAYOUT


def test_offsets_reach_the_program() -> None:
    defines = planned(*USUAL).defines
    expected = {
        "CT_ORIGINAL": "32", "CT_REPLY": "88", "CT_STATUS": "128", "CT_NET": "136", "NET_INODE": "144",
        "TUPLE_SIZE": "40", "TUPLE_SOURCE_PORT": "16", "TUPLE_FAMILY": "18", "TUPLE_DESTINATION": "20",
        "TUPLE_DESTINATION_PORT": "36", "TUPLE_PROTOCOL": "38", "SKB_LENGTH": "112", "SKB_CONNTRACK": "104",
    }  # fmt: skip
    assert {name: defines[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("mode", "machine", "arguments"),
    [
        (Mode.FENTRY, "x86_64", ["0", "8", "16", "24", "32"]),
        (Mode.KPROBE, "x86_64", ["112", "104", "96", "88", "72"]),
        (Mode.KPROBE, "aarch64", ["0", "8", "16", "24", "32"]),
    ],
)
def test_arguments_are_where_the_mode_and_the_machine_put_them(
    mode: Mode, machine: str, arguments: list[str]
) -> None:
    found = plan(kernel(machine=machine), None, mode=mode, machine=machine)
    assert [found.defines[f"ARGUMENT_{i}"] for i in range(5)] == arguments
    assert ("DIRECT_READS" in found.defines) == (mode is Mode.FENTRY)


def test_a_machine_whose_registers_are_not_known_is_told_so() -> None:
    with pytest.raises(EbpfUnavailable, match="riscv64") as raised:
        plan(kernel(), None, mode=Mode.KPROBE, machine="riscv64")
    assert raised.value.problem.kind is Cause.NOT_PORTED
