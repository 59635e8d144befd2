# SPDX-License-Identifier: Apache-2.0
"""The sessions of the guests with each kernel: they run while other tests of this tier do."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from lab.kernelvm import vm
from lab.kernelvm.kernels import KERNELS, Kernel
from tests.kernel import programs
from tests.kernel.guest import builds
from tests.kernel.report import Labelled

GUEST_SECONDS: Final = 3600.0
"""A session takes some minutes; a machine that others use as well may need several times that."""

_SESSION: Final = (
    "sh", "-ec", f'mkdir {builds.FOLDER}; tar -xf /dev/vde -C {builds.FOLDER}; exec "$@"', "sh",
    "python3", "-m", "pytest", "-o", "python_files=scenario_*.py", "-o", "timeout=900", "-p", "no:cacheprovider",
    "--confcutdir=tests/kernel", "-v", "--tb=short", "--junit-xml=/out/junit.xml", "tests/kernel/guest",
)  # fmt: skip
"""The compiled programs are on the fifth disk."""
_ON_OLDER_KERNELS: Final = ("-m", "not one_kernel")

REPORTS: Final = Path(__file__).parents[2] / "build" / "kernel-reports"
"""What each guest left, its kernel's messages included, for whoever has to find out what went wrong."""


def begun(items: Sequence[pytest.Item]) -> Mapping[str, Future[vm.GuestResult]]:
    """The sessions of the kernels that ``items`` ask for, by name, running: as many at once as there are
    processors. They begin when this is asked for the first time."""
    return _begun(
        tuple(kernel for kernel in KERNELS if any(f"holds[{kernel.name}]" in item.name for item in items))
    )


@cache
def _begun(kernels: tuple[Kernel, ...]) -> Mapping[str, Future[vm.GuestResult]]:
    room = threading.Semaphore(os.cpu_count() or 1)
    return {kernel.name: _started(kernel, room) for kernel in kernels}


def _started(kernel: Kernel, room: threading.Semaphore) -> Future[vm.GuestResult]:
    """A session in a thread that nobody waits for who is interrupted: the guest ends with it."""
    future: Future[vm.GuestResult] = Future()

    def run() -> None:
        with room:
            try:
                future.set_result(_session(kernel))
            except BaseException as error:
                future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _session(kernel: Kernel) -> vm.GuestResult:
    out = REPORTS / kernel.name
    shutil.rmtree(out, ignore_errors=True)
    output = Labelled(kernel.name)
    command = _SESSION if kernel == KERNELS[-1] else (*_SESSION, *_ON_OLDER_KERNELS)
    with tempfile.TemporaryDirectory() as scratch:
        compiled = programs.disk(kernel, Path(scratch, "programs.tar"))
        try:
            return vm.run(kernel, command, out=out, timeout=GUEST_SECONDS, write=output, disks=[compiled])
        finally:
            output.end()
