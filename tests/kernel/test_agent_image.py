# SPDX-License-Identifier: Apache-2.0
"""The agent's image itself, in a virtual machine whose kernel allows eBPF: the smoke test of what is shipped.

The guest boots its usual system, which plays the node; the image's file system is a disk of its own that the node
runs the agent from, as a container runtime does. Booting it as the root file system would test less: it has no
tools to make traffic with, and nobody runs it so.
"""

from __future__ import annotations

import json
import shutil
from typing import Final

import pytest

from lab.errors import LabError
from lab.images import images
from lab.kernelvm import vm
from lab.kernelvm.kernels import by_name
from tests.images.guest.scenario_agent_image import CONFIG
from tests.kernel import sessions
from tests.kernel.report import PASSED, Labelled, outcomes

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(3900)]

GUEST_SECONDS: Final = 3600.0
"""It takes two minutes; on a machine that others use as well, several times that."""

_SESSION: Final = (
    "python3", "-m", "pytest", "-o", "python_files=scenario_*.py", "-o", "timeout=3000", "-p", "no:cacheprovider",
    "--noconftest", "-v", "--tb=short", "--junit-xml=/out/junit.xml", "tests/images/guest",
)  # fmt: skip
_SCENARIOS: Final = 2


def test_the_agents_image_measures_on_a_real_kernel(
    request: pytest.FixtureRequest, subtests: pytest.Subtests, capfd: pytest.CaptureFixture[str]
) -> None:
    sessions.begun(request.session.items)
    try:
        image = images.image("nodeagent")
        disk = image.squashfs()
    except LabError as error:
        pytest.fail(f"the image was not built: {error}", pytrace=False)
    out = sessions.REPORTS / "agent-image"
    shutil.rmtree(out, ignore_errors=True)
    with capfd.disabled():  # a person who waits sees the session as it goes
        print()
        output = Labelled(out.name)
        result = vm.run(
            by_name("6.12"), _SESSION, out=out, timeout=GUEST_SECONDS, disks=[disk], write=output,
            environment={CONFIG: json.dumps(image.config)},
        )  # fmt: skip
        output.end()
    found = outcomes(out / "junit.xml")
    assert len(found) == _SCENARIOS, "the session inside the guest did not run every scenario"
    for outcome in found:
        with subtests.test(outcome.name):
            if outcome.state != PASSED:
                pytest.fail(f"{outcome.state}: {outcome.message}", pytrace=False)
    assert result.status == 0, f"the session inside the guest ended with status {result.status}; see {out}"
