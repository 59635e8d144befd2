# SPDX-License-Identifier: Apache-2.0
"""A cgroup whose sockets are counted, with this process in it, so that the rest of the machine is not seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.sources.cgroup import loader
from nodeagent.sources.cgroup.root import USUAL
from nodeagent.sources.ebpf.compiling.build import Build, BuildRequest
from nodeagent.sources.ebpf.compiling.build import build as compile_now
from tests.kernel.guest.network import Network, network


def _tree() -> Path:
    for path in USUAL:
        if (path / "cgroup.controllers").exists():
            return path
    pytest.skip("no cgroup2 file system is mounted")


@pytest.fixture(scope="package")
def cgroup() -> Iterator[Path]:
    """What this process makes from now on, sockets included, belongs to it."""
    tree = _tree()
    here = tree / Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip().lstrip("/")
    made = tree / f"traffic-footprint-test-{os.getpid()}"
    made.mkdir()
    try:
        (made / "cgroup.procs").write_text(str(os.getpid()))
        yield made
    finally:
        (here / "cgroup.procs").write_text(str(os.getpid()))
        made.rmdir()


@pytest.fixture(scope="package", autouse=True)
def _compile_once() -> Iterator[None]:
    """The program is the same in every test."""
    built: dict[str, Build] = {}

    def build(request: BuildRequest) -> Build:
        return built.get(request.file) or built.setdefault(request.file, compile_now(request))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "build", build)
        yield


@pytest.fixture(scope="package")
def net() -> Iterator[Network]:
    with network() as made:
        yield made
