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

Scenarios marked ``one_kernel`` run on the newest kernel alone: what they show is decided in the agent, from what
every kernel says alike. The programs are compiled outside the guests for the types of their kernels
(``programs.py``), but where compiling is the subject. Each scenario's result is reported by itself. A session that
ran nothing, or passed a scenario over, has failed.
"""

from __future__ import annotations

import pytest

from lab.kernelvm.kernels import KERNELS, Kernel
from tests.kernel import sessions
from tests.kernel.report import PASSED, Outcome, outcomes

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(3900)]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_every_scenario_holds(
    kernel: Kernel,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with capfd.disabled():  # a person who waits sees the sessions as they go
        print()
        result = sessions.begun(request.session.items)[kernel.name].result()
        print(
            f"[{kernel.name}] {result.seconds:.0f} s in all, {result.output_seconds:.0f} s until the session began"
        )
    out = sessions.REPORTS / kernel.name
    found = outcomes(out / "junit.xml")
    assert found, "the session inside the guest ran no scenario"
    for outcome in found:
        with subtests.test(outcome.name):
            _judge(outcome)
    assert result.status == 0, f"the session inside the guest ended with status {result.status}; see {out}"


def _judge(outcome: Outcome) -> None:
    if outcome.state != PASSED:
        pytest.fail(f"{outcome.state}: {outcome.message}", pytrace=False)
