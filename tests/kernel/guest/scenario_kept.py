# SPDX-License-Identifier: Apache-2.0
"""Programs that were compiled before: an agent that starts with one needs no compiler, and believes no bad one.

bcc is an empty module to the agents that start so. One that measures has compiled nothing. One scenario compiles.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from lab.network import netns
from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.btf import kernel as btf
from nodeagent.sources.ebpf.compiling import cache, objects
from nodeagent.sources.ebpf.compiling.build import Build, BuildRequest, build, object_key
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.compiling.objects import Refusal
from nodeagent.sources.ebpf.problems import EbpfUnavailable
from tests.kernel.guest import builds
from tests.kernel.guest.network import Network, network
from tests.kernel.guest.sources import EBPF, MODES
from tests.kernel.guest.starter import FAR_READ

_WITHOUT_BCC: Final = """
mount --bind /dev/null /usr/lib/python3/dist-packages/bcc/__init__.py
exec "$@"
"""


@pytest.fixture(scope="module")
def node() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's folder, with the programs that this session compiled, as an agent keeps them."""
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    for mode in MODES.values():
        built: Build = loader.build(BuildRequest(mode))  # type: ignore[attr-defined]
        programs = {role: base64.b64encode(code).decode() for role, code in built.code.items()}
        answer = {"plan": asdict(built.plan), "programs": programs}
        cache.keep(kept, key(BuildRequest(mode)), json.dumps(answer).encode())
    cache.counts.clear()
    return kept


def key(request: BuildRequest) -> bytes:
    found = object_key(request)
    assert found is not None, "this kernel has no types"
    return found


def file(request: BuildRequest, folder: Path) -> Path:
    return folder / f"{key(request).hex()}.object"


def started(node: Network, source: str, folder: Path, *, compiler: bool = False) -> dict[str, Any]:
    """The answer of tests.kernel.guest.starter, which reads once."""
    argv = [sys.executable, "-m", "tests.kernel.guest.starter", source, str(folder)]
    if not compiler:
        argv = ["unshare", "--mount", "sh", "-ec", _WITHOUT_BCC, "sh", *argv]
    with netns.entered(node.node):
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_what_was_compiled_outside_is_for_the_types_of_this_kernel() -> None:
    """What else a program depends on is the compiler: see the scenario below that compiles."""
    if not builds.TYPES.exists():
        pytest.skip("no program was handed in")
    assert json.loads(builds.TYPES.read_text()) == builds.digests(btf.DIRECTORY)


@pytest.mark.parametrize("source", EBPF)
def test_a_start_with_a_kept_program_needs_no_compiler(node: Network, folder: Path, source: str) -> None:
    answer = started(node, source, folder)
    assert answer == {"mode": MODES[source], "refused": "", "counts": {cache.FOUND: 1}}


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _of_another_kernel(path: Path) -> None:
    """As if that kernel's file had been renamed to this one's."""
    key = bytes.fromhex(path.stem)
    other = objects.key([key])
    path.write_bytes(objects.encode(other, objects.decode(key, path.read_bytes())))


def _linked(path: Path) -> None:
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def _no_program(path: Path) -> None:
    path.write_bytes(objects.encode(bytes.fromhex(path.stem), b"{}"))


BAD: Final = MappingProxyType(
    {
        "cut short": (_cut, Refusal.DAMAGED),
        "another kernel's": (_of_another_kernel, Refusal.FOREIGN),
        "a link": (_linked, Refusal.NOT_A_FILE),
        "another user's": (lambda path: os.chown(path, 65534, 65534), Refusal.OWNER),
        "open to all": (lambda path: path.chmod(0o666), Refusal.PERMISSIONS),
        "in a folder open to all": (lambda path: path.parent.chmod(0o777), Refusal.PERMISSIONS),
        "no program": (_no_program, Refusal.MALFORMED),
    }
)


@pytest.mark.one_kernel
@pytest.mark.parametrize(("damage", "refusal"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_by_name_and_the_compiler_asked(
    folder: Path, damage: Callable[[Path], None], refusal: Refusal
) -> None:
    request = BuildRequest(Mode.FENTRY, kept=folder, python="/bin/false")
    damage(file(request, folder))
    with pytest.raises(EbpfUnavailable, match="the compiling process ended with status 1"):
        build(request)
    assert cache.counts == {refusal.value: 1}


def test_what_the_kernel_refuses_is_compiled_anew_and_replaced(node: Network, folder: Path) -> None:
    """Whole, of this kernel, and hostile: only the verifier can tell. What was handed in to the other scenarios is
    what is compiled here."""
    (source, *_) = EBPF
    request = BuildRequest(MODES[source])
    path = file(request, folder)
    before = content(path)
    hostile(path)
    answer = started(node, source, folder, compiler=True)
    assert content(path) == before
    assert (answer["mode"], answer["refused"]) == (MODES[source], "")
    assert answer["counts"] == {cache.FOUND: 1, Refusal.BY_KERNEL.value: 1, cache.COMPILED: 1}
    assert started(node, source, folder)["counts"] == {cache.FOUND: 1}


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(objects.decode(bytes.fromhex(path.stem), path.read_bytes()))
    return found


def hostile(path: Path) -> None:
    key, answer = bytes.fromhex(path.stem), content(path)
    answer["programs"] = dict.fromkeys(answer["programs"], FAR_READ)
    path.write_bytes(objects.encode(key, json.dumps(answer).encode()))
