# SPDX-License-Identifier: Apache-2.0
"""The programs that a guest's scenarios attach, compiled outside: an emulated processor takes half a minute for
each.

They are compiled from this checkout for the types of the guest's kernel, which that kernel itself has published,
by the compiler that the guest has too. ``scenario_kept`` compares: the types with those of the kernel it runs on,
and one program with what the guest's own compiler makes of it.
"""

from __future__ import annotations

import json
import pickle
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab.kernelvm import cache, image, vm
from lab.kernelvm.kernels import Kernel
from lab.kernelvm.progress import say
from nodeagent.sources.cgroup import loader as cgroup
from nodeagent.sources.ebpf.compiling.build import BuildRequest, build
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.loader import Options
from tests.kernel.guest import builds, datapath
from tests.kernel.guest.functions import WITHOUT

_PUBLISH = "modprobe nf_conntrack; cp /sys/kernel/btf/vmlinux /sys/kernel/btf/nf_conntrack /out"


def disk(kernel: Kernel, target: Path) -> Path:
    """An archive of the guest's ``builds.FOLDER``, as a disk image at ``target``."""
    found = types(kernel)
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(target, "w") as tar:
        folder = Path(scratch, "programs")
        folder.mkdir()
        (folder / builds.TYPES.name).write_text(json.dumps(builds.digests(found)))
        for request in requests(Path(scratch, "c")):
            made = build(replace(request, btf=found, kept=None))
            (folder / builds.place(request).name).write_bytes(pickle.dumps(made))
        tar.add(folder, ".")
    return target


def types(kernel: Kernel) -> Path:
    """The folder of the kernel's types and conntrack's; the kernel is booted once for them."""

    def publish(place: Path) -> None:
        say(f"asking kernel {kernel.name} for its types")
        vm.run(kernel, ["sh", "-ec", _PUBLISH], out=place, write=lambda _: None)

    return cache.built(f"types-{kernel.name}", {"package": image.image(kernel).package}, publish)


def requests(scratch: Path) -> Iterator[BuildRequest]:
    """What the scenarios ask for, but those that are about compiling."""
    for mode in Mode:
        yield BuildRequest(mode)
        for without in WITHOUT:
            yield BuildRequest(mode, without=frozenset(without.split()))
    yield cgroup.request(Options())
    yield datapath.request(scratch)
