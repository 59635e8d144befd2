# SPDX-License-Identifier: Apache-2.0
"""Programs that are kept in files: what is found again, and every file that must not be believed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodeagent.sources.ebpf.compiling import cache, objects
from nodeagent.sources.ebpf.compiling.build import BuildRequest, build, object_key, sources
from nodeagent.sources.ebpf.compiling.hooks import Mode, Role
from nodeagent.sources.ebpf.compiling.objects import MAX_BYTES, ObjectRefused, Refusal
from nodeagent.sources.ebpf.problems import EbpfUnavailable

KEY = bytes(range(32))
FILE = f"{KEY.hex()}.object"
ANSWER: dict[str, Any] = {
    "plan": {
        "mode": "kprobe", "module": "nf_conntrack", "defines": {"CT_NET": "144"},
        "hooks": [{"role": "account", "function": "nf_ct_acct_add", "btf_id": 7}],
    },
    "programs": {"account": base64.b64encode(bytes(16)).decode()},
}  # fmt: skip

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture(autouse=True)
def _counted_anew() -> Iterator[None]:
    cache.counts.clear()
    yield
    cache.counts.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (made := tmp_path / "kept").mkdir(mode=0o755)
    return made


@pytest.fixture
def request_(folder: Path, tmp_path: Path) -> BuildRequest:
    """A request whose compiler answers at once, and says in ``ran`` how often it did."""
    (types := tmp_path / "btf").mkdir()
    (types / "vmlinux").write_bytes(b"types")
    copied = shutil.copytree(sources(), tmp_path / "bpf")
    return BuildRequest(Mode.KPROBE, sources=copied, btf=types, python=compiler(tmp_path, ANSWER), kept=folder)


def compiler(folder: Path, answer: object) -> str:
    (folder / "answer").write_text(json.dumps(answer))
    python = folder / "python"
    python.write_text(f"#!/bin/sh\necho >> {folder}/ran\ncat {folder}/answer\n")
    python.chmod(0o755)
    return str(python)


def runs(tmp_path: Path) -> int:
    ran = tmp_path / "ran"
    return len(ran.read_text().splitlines()) if ran.exists() else 0


def test_what_was_kept_is_found_by_its_key_and_by_no_other(folder: Path) -> None:
    cache.keep(folder, KEY, b"content")
    assert cache.find(folder, KEY) == b"content"
    assert cache.find(folder, bytes(32)) is None
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert cache.counts == {}


def test_a_second_start_does_not_compile(request_: BuildRequest, tmp_path: Path) -> None:
    first, second = build(request_), build(request_)
    assert runs(tmp_path) == 1
    assert (first.kept, second.kept) == (False, True)
    assert replace(second, kept=False) == first
    assert second.code[Role.ACCOUNT] == bytes(16)
    assert cache.counts == {cache.COMPILED: 1, cache.FOUND: 1}


def test_a_fresh_build_replaces_what_is_kept(request_: BuildRequest, tmp_path: Path) -> None:
    build(request_)
    assert not build(replace(request_, fresh=True)).kept
    assert runs(tmp_path) == 2
    assert build(request_).kept


Change = Callable[[BuildRequest], BuildRequest]


def written(path: str) -> Change:
    def change(request: BuildRequest) -> BuildRequest:
        root = request.btf if path.startswith("btf/") else request.sources
        with (root / path.partition("/")[2]).open("ab") as file:
            file.write(b"/**/")
        return request

    return change


@pytest.mark.parametrize(
    "change",
    [
        written("btf/vmlinux"), written("btf/nf_conntrack"), written("bpf/state.h"),
        written("bpf/shim/include/linux/types.h"), lambda request: replace(request, mode=Mode.FENTRY),
        lambda request: replace(request, without=["nf_ct_acct_add"]),
        lambda request: replace(request, defines={"A": "1"}),
        lambda request: replace(request, functions={"a": "b"}), lambda request: replace(request, file="x.c"),
    ],
    ids=["kernel", "module", "header", "shim", "mode", "without", "defines", "functions", "file"],
)  # fmt: skip
def test_everything_that_decides_what_is_compiled_is_in_the_key(request_: BuildRequest, change: Change) -> None:
    before = object_key(request_)
    assert before == object_key(replace(request_, python="/other", timeout=3.0))
    assert object_key(change(request_)) != before


def test_another_kernel_release_is_another_key(request_: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = object_key(request_)
    monkeypatch.setattr("platform.version", lambda: "#1 SMP Debian 6.12.117-2")
    assert object_key(request_) != before


def test_a_kernel_without_types_has_nothing_kept(request_: BuildRequest, folder: Path) -> None:
    (request_.btf / "vmlinux").unlink()
    build(request_)
    assert list(folder.iterdir()) == []


def test_a_problem_is_not_kept(request_: BuildRequest, folder: Path, tmp_path: Path) -> None:
    compiler(tmp_path, {"problem": {"kind": "bcc-missing", "fact": "none", "detail": ""}})
    with pytest.raises(EbpfUnavailable):
        build(request_)
    assert list(folder.iterdir()) == []


def whole() -> bytes:
    return objects.encode(KEY, b"content")


Damage = Callable[[Path], object]


def replaced(content: bytes) -> Damage:
    return lambda file: file.write_bytes(content)


def linked(file: Path) -> None:
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def nested(file: Path) -> None:
    file.unlink()
    file.mkdir(0o700)


BAD: dict[str, tuple[Damage, Refusal]] = {
    "empty": (replaced(b""), Refusal.DAMAGED),
    "cut short": (replaced(whole()[:-1]), Refusal.DAMAGED),
    "one bit": (replaced(whole()[:-1] + bytes([whole()[-1] ^ 1])), Refusal.DAMAGED),
    "another key in its header": (replaced(whole().replace(KEY, bytes(32))), Refusal.DAMAGED),
    "another kernel's": (replaced(objects.encode(bytes(32), b"content")), Refusal.FOREIGN),
    "something else": (replaced(b"\x7fELF" * 40), Refusal.FORMAT),
    "too large": (replaced(whole() + bytes(MAX_BYTES)), Refusal.TOO_LARGE),
    "a link": (linked, Refusal.NOT_A_FILE),
    "a second name": (lambda file: os.link(file, file.parent.parent / "name"), Refusal.NOT_A_FILE),
    "a pipe": (pipe, Refusal.NOT_A_FILE),
    "a folder": (nested, Refusal.NOT_A_FILE),
    "others may read": (lambda file: file.chmod(0o644), Refusal.PERMISSIONS),
    "others may write": (lambda file: file.chmod(0o606), Refusal.PERMISSIONS),
    "a folder that others may write to": (lambda file: file.parent.chmod(0o777), Refusal.PERMISSIONS),
}


@pytest.mark.parametrize(("damage", "refusal"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_believed_is_refused_named_and_counted(
    folder: Path, damage: Damage, refusal: Refusal
) -> None:
    cache.keep(folder, KEY, b"content")
    damage(folder / FILE)
    assert cache.find(folder, KEY) is None
    assert cache.counts == {refusal.value: 1}


@needs_root
@pytest.mark.parametrize("what", [FILE, ""], ids=["file", "folder"])
def test_what_belongs_to_somebody_else_is_refused(folder: Path, what: str) -> None:
    cache.keep(folder, KEY, b"content")
    os.chown(folder / what, 65534, 65534)
    assert cache.find(folder, KEY) is None
    assert cache.counts == {Refusal.OWNER.value: 1}


def test_a_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    cache.keep(folder, KEY, b"content")
    (tmp_path / "link").symlink_to(folder)
    assert cache.find(tmp_path / "link", KEY) is None
    assert cache.counts == {Refusal.NOT_A_FILE.value: 1}


MALFORMED: dict[str, Any] = {
    "no JSON": b"{",
    "a list": [],
    "deep": b"[" * 100_000,
    "no plan": {"programs": ANSWER["programs"]},
    "another mode": {**ANSWER, "plan": {**ANSWER["plan"], "mode": "fentry"}},
    "a hook without code": {**ANSWER, "programs": {}},
    "code of no hook": {**ANSWER, "programs": {**ANSWER["programs"], "death": "AAAAAAAAAAA="}},
    "half an instruction": {**ANSWER, "programs": {"account": "AAAA"}},
    "no base64": {**ANSWER, "programs": {"account": "?"}},
    "a function that is no name": {
        **ANSWER, "plan": {**ANSWER["plan"], "hooks": [{"role": "account", "function": "a b", "btf_id": 7}]}
    },
    "a number that is none": {
        **ANSWER, "plan": {**ANSWER["plan"], "hooks": [{"role": "account", "function": "f", "btf_id": -1}]}
    },
    "programs that are a list": {**ANSWER, "programs": ["account"]},
}  # fmt: skip


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_no_compiler_answers_is_refused_and_compiled_anew(
    request_: BuildRequest, folder: Path, tmp_path: Path, content: Any
) -> None:
    key = object_key(request_)
    assert key is not None
    cache.keep(folder, key, content if isinstance(content, bytes) else json.dumps(content).encode())
    assert not build(request_).kept
    assert cache.counts == {Refusal.MALFORMED.value: 1, cache.COMPILED: 1}
    assert build(request_).kept, "the bad file was replaced"
    assert runs(tmp_path) == 1


@pytest.mark.parametrize("name", [name for name in BAD if "folder" not in name])
def test_a_bad_file_is_replaced_by_the_next_compilation(request_: BuildRequest, folder: Path, name: str) -> None:
    key = object_key(request_)
    assert key is not None
    build(request_)
    BAD[name][0](folder / f"{key.hex()}.object")
    assert not build(request_).kept
    assert build(request_).kept


def test_without_a_folder_every_start_compiles_and_nothing_is_said(request_: BuildRequest, folder: Path) -> None:
    folder.rmdir()
    assert not build(request_).kept
    assert not build(request_).kept
    assert cache.counts == {cache.COMPILED: 2}


def test_where_nothing_can_be_written_the_program_is_used_all_the_same(
    request_: BuildRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache, "_write", refuse)
    assert build(request_).code
    assert cache.counts == {cache.COMPILED: 1, cache.NOT_KEPT: 1}


def test_few_are_kept_and_the_one_that_was_used_longest_ago_goes(folder: Path) -> None:
    keys = [bytes([number]) * 32 for number in range(cache.KEPT + 3)]
    for age, key in enumerate(keys):
        cache.keep(folder, key, b"content")
        os.utime(folder / f"{key.hex()}.object", (age, age))
    assert len(list(folder.iterdir())) == cache.KEPT
    assert cache.find(folder, keys[0]) is None
    oldest = keys[3]
    assert cache.find(folder, oldest) == b"content"  # used now
    cache.keep(folder, bytes(31) + b"x", b"content")
    assert cache.find(folder, oldest) == b"content"
    assert cache.find(folder, keys[4]) is None


def test_foreign_files_are_neither_counted_nor_removed(folder: Path) -> None:
    (folder / "somebody's").write_text("x")
    for number in range(cache.KEPT + 3):
        cache.keep(folder, bytes([number]) * 32, b"content")
    gone, left = cache.discard_all(folder)
    assert (len(gone), left) == (cache.KEPT, [])
    assert [path.name for path in folder.iterdir()] == ["somebody's"]


def test_an_agent_that_was_killed_while_it_wrote_leaves_nothing_for_good(folder: Path) -> None:
    (folder / FILE.replace("object", "partial")).write_bytes(b"half")
    assert cache.find(folder, KEY) is None
    cache.keep(folder, KEY, b"content")
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_readers_never_see_half_a_file(folder: Path) -> None:
    content = b"c" * 200_000
    cache.keep(folder, KEY, content)
    done = threading.Event()

    def write() -> None:
        for _ in range(30):
            cache.keep(folder, KEY, content)
        done.set()

    writing = threading.Thread(target=write)
    writing.start()
    while not done.is_set():
        assert cache.find(folder, KEY) == content
    writing.join()
    assert cache.counts == {}


def test_too_much_is_not_kept(folder: Path) -> None:
    cache.keep(folder, KEY, bytes(MAX_BYTES))
    assert list(folder.iterdir()) == []
    assert cache.counts == {cache.NOT_KEPT: 1}


@pytest.mark.parametrize("size", [0, 10, 79, 80])
def test_any_bytes_are_refused_by_name(size: int) -> None:
    with pytest.raises(ObjectRefused):
        objects.decode(KEY, os.urandom(size))


def test_the_compiler_is_not_imported_to_find_a_program() -> None:
    script = "import sys, nodeagent.sources.ebpf.loader; sys.exit('bcc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
