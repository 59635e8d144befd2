# SPDX-License-Identifier: Apache-2.0
"""The disk that a node in a virtual machine begins with: images as its containerd has them after pulling.

Enters: the names and digests of images in the lab's registry. Leaves: a file system with their blobs, and with
their layers unpacked, kept in the cache. A containerd of this machine's own pulls them, by the request that a
kubelet makes: an emulated processor takes minutes to unpack what this one unpacks in seconds. So a kubelet in a
virtual machine finds every image that it is asked for. Call from the control plane's network namespace.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.images import base
from lab.kernelvm import cache
from lab.kernelvm.progress import say
from lab.nodes.real import files, pins
from lab.nodes.real.vm import disks
from lab.processes import Process, start, tail

FORMAT: Final = 1
"""Raise when the way of building changes."""
_KIND: Final = "node-images"
_LISTENS_SECONDS: Final = 60.0
_PULL_SECONDS: Final = 600.0


def disk(programs: Mapping[str, Path], digests: Mapping[str, str]) -> Path:
    """The disk with the images ``digests`` (name → digest), made when the cache lacks it, which takes a minute.

    Raises LabError.
    """

    def build(place: Path) -> None:
        base.prune(_KIND, place)
        say(f"preloading {len(digests)} images for nodes in virtual machines (about a minute)", area="nodes")
        tree = place / "tree"
        with tempfile.TemporaryDirectory(prefix="tf-preload-") as run:  # short: it has a socket in it
            _pull(programs, digests, tree / files.CONTAINERD_ROOT.relative_to("/"), Path(run))
        disks.filesystem(place / _KIND, tree)
        shutil.rmtree(tree)

    inputs = {
        "format": FORMAT, "images": dict(digests), "bytes": disks.DISK_BYTES,
        "containerd": str(pins.CONTAINERD_MODULE.version),
    }  # fmt: skip
    return cache.built(_KIND, inputs, build) / _KIND


def _pull(programs: Mapping[str, Path], names: Iterable[str], root: Path, run: Path) -> None:
    root.mkdir(parents=True)
    places = files.Places(run, programs[pins.RUNC], programs["bridge"].parent)
    hosts = places.registries / "_default" / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(files.registry_hosts())
    config = run / "containerd.toml"
    config.write_text(files.containerd(places, root=root, state=run))
    log = run / "log"
    # What it mounts while it unpacks is in a namespace of its own.
    isolated = ["unshare", "--mount", "--propagation", "private"]
    argv: list[str | Path] = [*isolated, programs[pins.CONTAINERD], "--config", config]
    with start(argv, log=log, name="containerd for preloading") as containerd:
        endpoint = run / "containerd.sock"
        containerd.wait_ready(lambda: _listens(endpoint), _LISTENS_SECONDS)
        for name in names:
            _pull_one(programs[pins.CRICTL], endpoint, name, containerd)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _pull_one(crictl: Path, endpoint: Path, name: str, containerd: Process) -> None:
    at = f"unix://{endpoint}"
    argv = [str(crictl), "--timeout", f"{_PULL_SECONDS:g}s", "--runtime-endpoint", at, "--image-endpoint", at,
            "pull", name]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=2 * _PULL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{name} was not pulled in time; {tail(containerd.log)}") from error
    if done.returncode:
        raise LabError(f"{name} was not pulled: {done.stderr.strip()}; {tail(containerd.log)}")
