# SPDX-License-Identifier: Apache-2.0
"""The agent's image on a node: inside a guest, its file system is the disk /dev/vde.

The guest's own system plays the node, which has the tools and the traffic; the image runs on it as a container
runtime would run it, with the DaemonSet's capabilities, user, mounts and read-only root file system.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from lab.images import pods
from lab.network import netns
from tests.kernel.guest.network import POD1_4, POD2_4, PORT, SERVER4, Network, network
from tests.kernel.guest.traffic import Connection, Stream

CONFIG: Final = "AGENT_IMAGE_CONFIG"
"""Variable that holds the image's OCI configuration."""
DISK: Final = "/dev/vde"
IMAGE: Final = Path("/image")
PATIENCE: Final = 900.0
"""Seconds for what takes twenty on an emulated machine that has nobody else to serve."""
COMPILING: Final = "--compile-timeout=900"
"""The agent's own limit is for real processors."""
RATE: Final = 3_000_000
"""Bytes a second; with the thresholds below, an elephant."""
WATCH: Final = (
    "watch", "--output=json", "--pods=/tmp/pods", "--uplink=uplink", "--link-capacity=200M",
    "--elephant-bytes=2Mi", "--elephant-rate=4M", "--source=ebpf", COMPILING,
)  # fmt: skip


@pytest.fixture(scope="module")
def image() -> Path:
    """The image's file system."""
    IMAGE.mkdir()
    subprocess.run(["mount", "-t", "squashfs", "-o", "ro", DISK, str(IMAGE)], check=True)
    return IMAGE


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The container's /tmp, with the names of the pods."""
    (tmp_path / "programs").mkdir()
    (tmp_path / "pods").write_text(f"{POD1_4} shop/backup\n{POD2_4} shop/cart\n")
    return tmp_path


def as_shipped(image: Path, scratch: Path, *arguments: str) -> list[str]:
    return pods.as_shipped(
        image, json.loads(os.environ[CONFIG]), pods.workload("nodeagent"),
        folders={"tmp": scratch, "programs": scratch / "programs"},
        fields={"spec.nodeName": "node", "status.hostIP": "127.0.0.1"}, arguments=lambda _: list(arguments),
    )  # fmt: skip


def programs() -> set[int]:
    """Ids of the eBPF programs in the kernel."""
    shown = subprocess.run(["bpftool", "prog", "list", "-j"], capture_output=True, check=True, text=True).stdout
    return {program["id"] for program in json.loads(shown or "[]")}


def test_its_preflight_finds_that_ebpf_attaches_by_fentry(image: Path, scratch: Path, net: Network) -> None:
    command = as_shipped(image, scratch, "preflight", "--output=json", "--uplink=uplink", COMPILING)
    with netns.entered(net.node):  # not by `ip netns exec`, which would hide /sys/fs/bpf
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=4 * PATIENCE)
    assert done.stdout, done.stderr
    findings = {found["capability"]: found for found in json.loads(done.stdout)["findings"]}
    for name in ("bcc", "kernel types (BTF) of conntrack", "eBPF on conntrack by fentry"):
        assert findings[name]["answer"] == "yes", findings[name]


def test_it_measures_an_elephant_and_says_whose_it_is(image: Path, scratch: Path, net: Network) -> None:
    before = programs()
    with (
        Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection,
        watching(net, as_shipped(image, scratch, *WATCH)) as watch,
    ):
        assert watch.first["source"] == "ebpf-fentry"
        assert programs() > before, "what counts is in the kernel"
        with Stream(connection, RATE):
            view = watch.until(lambda view: bool(view["elephants"]))
            elephant = view["elephants"][0]
            assert elephant["owners"] == ["shop/backup"]
            assert (elephant["protocol"], elephant["local"]) == ("tcp", False)
            assert elephant["destination"].startswith(SERVER4)
            sent = net.counted()["in_pod1"]
            view = watch.until(lambda view: owner(view, "shop/backup").get("tx_bytes", 0) >= sent)
            assert owner(view, "shop/backup")["elephants"]["flows"] == 1
            assert owner(view, "shop/cart").get("elephants", {}).get("flows", 0) == 0
        assert watch.end() == 0, watch.said()
    deadline = time.monotonic() + PATIENCE  # the kernel frees programs a little later
    while (left := programs() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == set()


def owner(view: dict[str, Any], name: str) -> dict[str, Any]:
    """What a view says of an owner; empty when it does not name it."""
    return next((found for found in view["owners"] if found["name"] == name), {})


class Watch:
    """Views as they come. Made by ``watching``."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self.first = self._next(lambda _: True) or {}
        """Empty when the program ended without any."""

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first view for which ``holds``; the program is ended, and the test with it, when none comes."""
        view = self._next(holds)
        assert view is not None, f"no such view within {2 * PATIENCE:g} s, or it ended: {self.said()}"
        return view

    def _next(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any] | None:
        timer = threading.Timer(2 * PATIENCE, self._process.kill)
        timer.start()
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                view: dict[str, Any] = json.loads(line)
                if holds(view):
                    return view
            return None
        finally:
            timer.cancel()

    def said(self) -> str:
        return self._errors.read_text()

    def end(self) -> int:
        """SIGTERM; the exit status."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode


@contextmanager
def watching(net: Network, argv: list[str]) -> Iterator[Watch]:
    errors = Path("/out/watch.log")
    with netns.entered(net.node), errors.open("w") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        watch = Watch(process, errors)
        assert watch.first, watch.said()
        yield watch
    finally:
        process.kill()
        process.communicate()
