# SPDX-License-Identifier: Apache-2.0
"""Every scenario of tests/kernel/guest on every kernel: one virtual machine per kernel, all of them at once.

Which source runs what:

- On the shared node (paths, flows, flowtable, elephants, churn, parity) ctnetlink, eBPF by fentry and eBPF by
  kprobe watch the same packets at the same time. Each scenario holds for all three; figures are compared.
- ``scenario_hooks`` has both eBPF sources without ctnetlink, on a node whose kernel does not count: ctnetlink
  switches that on. It also fills the ring buffer, which ctnetlink does not have.
- ``scenario_cgroup``: the source at sockets, beside eBPF by fentry and where that sees nothing.
- ``scenario_limits`` has all three with a small flow table.
- ``scenario_restart``: killed and ended agents with each source. Other thresholds, other sizes and other builds
  with fentry alone: what they decide about is pins and fingerprints, whatever the hooks hang on.
- ``scenario_kept``: starts with a program that was compiled before, and with files that are none.
- ``scenario_capabilities``: each source by itself, for each asks for others.
- ``scenario_uplinks``: ctnetlink and eBPF by fentry for a second uplink, fentry alone for VLAN and bonds: what it
  is about begins behind the sources.
- ``scenario_refusals``: the agent's own choice (``auto``), once: what is missing is missing to both hooks.

A program is compiled once per guest and way to attach, and remembered (``guest/builds.py``), but where compiling
is the subject. Each scenario's result is reported by itself. A session that ran nothing, or passed a scenario
over, has failed.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import pytest

from lab.kernelvm import vm
from lab.kernelvm.kernels import KERNELS, Kernel
from tests.kernel.report import PASSED, Labelled, Outcome, outcomes

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(3900)]

GUEST_SECONDS: Final = 3600.0
"""A session takes some minutes; a machine that others use as well may need several times that."""

_SESSION: Final = (
    "python3", "-m", "pytest", "-o", "python_files=scenario_*.py", "-o", "timeout=900", "-p", "no:cacheprovider",
    "--confcutdir=tests/kernel", "-v", "--tb=short", "--junit-xml=/out/junit.xml", "tests/kernel/guest",
)  # fmt: skip

REPORTS: Final = Path(__file__).parents[2] / "build" / "kernel-reports"
"""What each guest left, its kernel's messages included, for whoever has to find out what went wrong."""


@pytest.fixture(scope="module")
def sessions(request: pytest.FixtureRequest) -> Mapping[str, Future[vm.GuestResult]]:
    """The sessions of the kernels asked for, by name, running: as many at once as there are processors."""
    here = [item.name for item in request.session.items if item.path == request.path]
    asked = [kernel for kernel in KERNELS if any(f"[{kernel.name}]" in name for name in here)]
    room = threading.Semaphore(os.cpu_count() or 1)
    return {kernel.name: _started(kernel, room) for kernel in asked}


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
    try:
        return vm.run(kernel, _SESSION, out=out, timeout=GUEST_SECONDS, write=output)
    finally:
        output.end()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_every_scenario_holds(
    kernel: Kernel,
    sessions: Mapping[str, Future[vm.GuestResult]],
    subtests: pytest.Subtests,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with capfd.disabled():  # a person who waits sees the sessions as they go
        print()
        result = sessions[kernel.name].result()
        print(
            f"[{kernel.name}] {result.seconds:.0f} s in all, {result.output_seconds:.0f} s until the session began"
        )
    out = REPORTS / kernel.name
    found = outcomes(out / "junit.xml")
    assert found, "the session inside the guest ran no scenario"
    for outcome in found:
        with subtests.test(outcome.name):
            _judge(outcome)
    assert result.status == 0, f"the session inside the guest ended with status {result.status}; see {out}"


def _judge(outcome: Outcome) -> None:
    if outcome.state != PASSED:
        pytest.fail(f"{outcome.state}: {outcome.message}", pytrace=False)
