# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.top.names import PodsFile
from nodeagent.top.pods_file import PodsFileError, Resident, living_here, parse


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def named(residents: tuple[Resident, ...]) -> dict[str, tuple[bytes, ...]]:
    return {r.pod.name: r.pod.addresses for r in residents}


def pod(name: str, *addresses: str, host: str = "", **spec: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Running", "podIPs": [{"ip": address} for address in addresses]}
    if host:
        status |= {"hostIP": host, "hostIPs": [{"ip": host}]}
    return {"metadata": {"uid": f"uid-{name}", "namespace": "shop", "name": name}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nobody\n\n   \n", {}),
        ("10.0.0.1 cart", {"cart": ("10.0.0.1",)}),
        ("\t10.0.0.1\tcart  # the shop's\r\n", {"cart": ("10.0.0.1",)}),
        ("10.0.0.1 cart\nfd00::1 cart\n", {"cart": ("10.0.0.1", "fd00::1")}),
        ("10.0.0.1 cart\n10.0.0.1 cart\n", {"cart": ("10.0.0.1",)}),
        ("10.0.0.1 b#1\n10.0.0.2 a\n", {"b#1": ("10.0.0.1",), "a": ("10.0.0.2",)}),
    ],
)
def test_lines_name_the_owners_of_addresses(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert named(parse(text)) == {name: tuple(map(packed, found)) for name, found in expected.items()}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10.0.0.1", "line 1: '10.0.0.1' has no name; write ADDRESS NAME"),
        ("# a\n\n10.0.0.300 cart", "line 3: '10.0.0.300' is not an IP address"),
        ("10.0.0.0/24 cart", "line 1: '10.0.0.0/24' is not an IP address"),
        ("10.0.0.1 the cart", "line 1: 3 words; write ADDRESS NAME"),
        ("10.0.0.1 cart\n10.0.0.1 till", "line 2: 10.0.0.1 belongs to 'cart' already (line 1)"),
        ("fe80::1%\x1b[2J a\nfe80::1%\x1b[2J b", "line 2: fe80::1 belongs to 'a' already (line 1)"),
        ("10.0.0.1 host", "line 1: 'host' names this machine's own traffic"),
        ("10.0.0.1 a\x1b[2J", "line 1: the name"),
        ("{", "line 1: not valid JSON"),
        ('{"items":\n nonsense}', "line 2: not valid JSON"),
        ('{"kind": "Node"}', "line 1: JSON without a list of pods"),
        ("[3]", "pod 1 of the list is not a Pod object"),
        ('[{"metadata": {"uid": 1, "namespace": "a", "name": "b"}}]', "pod 1 of the list is not a Pod object"),
        ('[{"metadata": {"uid": "u", "namespace": "a", "name": "\\u001b[2J"}}]', "the name"),
    ],
)
def test_what_is_not_understood_is_one_line_that_names_the_place(text: str, told: str) -> None:
    with pytest.raises(PodsFileError) as caught:
        parse(text)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


KEYS = st.sampled_from(["items", "kind", "metadata", "status", "spec", "podIPs", "hostIPs", "uid", "name"])
JSON = st.recursive(
    st.none() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_any_text_gives_residents_or_a_named_error(text: str) -> None:
    with suppress(PodsFileError):
        parse(text)


@pytest.mark.parametrize("wrap", [lambda pods: {"kind": "List", "items": pods}, lambda pods: pods])
def test_pods_of_kubectl_have_their_uid_and_both_addresses(wrap: Any) -> None:
    [resident] = parse(json.dumps(wrap([pod("cart", "10.0.0.1", "fd00::1")])))
    assert (resident.pod.uid, resident.pod.ns, resident.pod.name) == ("uid-cart", "shop", "cart")
    assert resident.pod.addresses == (packed("10.0.0.1"), packed("fd00::1"))


def test_one_pod_alone_is_read_as_well_and_other_kinds_are_passed_over() -> None:
    assert list(named(parse(json.dumps({"kind": "Pod", **pod("cart", "10.0.0.1")})))) == ["cart"]
    listed = {"items": [{"kind": "Service", "metadata": {}}, {"kind": "Pod", **pod("cart", "10.0.0.1")}]}
    assert list(named(parse(json.dumps(listed)))) == ["cart"]


def test_pods_of_other_machines_are_left_out() -> None:
    listed = [
        pod("here", "10.0.0.1", host="192.0.2.1"),
        pod("there", "10.0.0.2", host="192.0.2.2"),
        pod("unsaid", "10.0.0.3"),
    ]
    here = living_here(parse(json.dumps(listed)), frozenset({packed("192.0.2.1"), packed("127.0.0.1")}))
    assert [p.name for p in here] == ["here", "unsaid"]


def test_a_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "pods"
    path.write_text("10.0.0.1 cart\n")
    file = PodsFile(path)
    assert not file.changed()
    path.write_text("10.0.0.1 till\n10.0.0.2 cart\n")
    assert file.changed()
    assert list(named(file.residents)) == ["till", "cart"]
    path.write_text("10.0.0.1 a name\n")
    with pytest.raises(PodsFileError, match=r"pods: line 1: 3 words"):
        file.changed()
    assert list(named(file.residents)) == ["till", "cart"]
    assert not file.changed()  # told once
    path.unlink()
    assert not file.changed()


def test_a_pipe_is_read_once() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"10.0.0.1 cart\n")
    os.close(writer)
    try:
        file = PodsFile(Path(f"/proc/self/fd/{reader}"))
        assert list(named(file.residents)) == ["cart"]
        assert not file.changed()
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), (b"\xff\xfe\x00", "not UTF-8 text"), (b"10.0.0.1", "line 1")]
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "pods"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PodsFileError) as caught:
        PodsFile(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


_ADDRESSES = st.sampled_from(["fe80::1%", "10.0.0.1", "fd00::", ""])


@given(st.lists(st.tuples(_ADDRESSES, st.text(max_size=8), st.text(max_size=8)), max_size=4))
def test_no_error_has_characters_that_a_terminal_would_obey(lines: list[tuple[str, str, str]]) -> None:
    said = ""
    try:
        parse("\n".join(f"{address}{rest} {name}" for address, rest, name in lines))
    except PodsFileError as error:
        said = str(error)
    assert said.isprintable()
