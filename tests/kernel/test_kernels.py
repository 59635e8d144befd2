"""Every scenario of tests/kernel/guest on every kernel, with every source: one virtual machine per pair.

Each scenario's result is reported by itself. A session that ran nothing, or passed a scenario over, has failed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from lab.kernelvm import vm
from lab.kernelvm.kernels import KERNELS, Kernel
from tests.kernel.guest.sources import SOURCES
from tests.kernel.report import PASSED, Outcome, outcomes

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1500)]

GUEST_SECONDS: Final = 1200.0
"""A session takes two to four minutes; a machine that others use as well may need several times that."""

_SESSION: Final = (
    "python3", "-m", "pytest", "-o", "python_files=scenario_*.py", "-p", "no:cacheprovider", "-v", "--tb=short",
    "--junit-xml=/out/junit.xml", "tests/kernel/guest",
)  # fmt: skip


REPORTS: Final = Path(__file__).parents[2] / "build" / "kernel-reports"
"""What each guest left, its kernel's messages included, for whoever has to find out what went wrong."""


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_every_scenario_holds(
    kernel: Kernel, source: str, subtests: pytest.Subtests, capfd: pytest.CaptureFixture[str]
) -> None:
    out = REPORTS / f"{kernel.name}-{source}"
    shutil.rmtree(out, ignore_errors=True)
    with capfd.disabled():  # a person who waits sees the session as it goes
        print()
        result = vm.run(kernel, [*_SESSION, f"--source={source}"], out=out, timeout=GUEST_SECONDS)
    found = outcomes(out / "junit.xml")
    assert found, "the session inside the guest ran no scenario"
    for outcome in found:
        with subtests.test(outcome.name):
            _judge(outcome)
    assert result.status == 0, f"the session inside the guest ended with status {result.status}; see {out}"


def _judge(outcome: Outcome) -> None:
    if outcome.state != PASSED:
        pytest.fail(f"{outcome.state}: {outcome.message}", pytrace=False)
