# SPDX-License-Identifier: Apache-2.0
"""Cost of the node agent's admission policy for other writers: ``python -m lab.bench.scheduler.admission_policy``.

Enters: nothing. Leaves: microseconds that policy admission takes for a write that the policy does not concern,
with and without the policy, in turns of one run. They come from the API server's own histogram. The CPU time of
the whole write is printed beside them.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from footprint.cluster.client import MERGE_PATCH, open_stream, request
from lab.lab import Lab, LabConfig
from lab.processes import POLL_SECONDS

_ROUNDS: Final = 5
_WRITES: Final = 600
_BINDINGS: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
_OURS: Final = f"{_BINDINGS}/traffic-footprint-nodeagent"
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
_HISTOGRAM: Final = (
    r'^apiserver_admission_controller_admission_duration_seconds_{}\{{name="ValidatingAdmissionPolicy",'
    r'operation="UPDATE"[^}}]*\}} (\S+)$'
)
_SERVER_CPU: Final = r"^process_cpu_seconds_total (\S+)$"


def main() -> None:
    with Lab(LabConfig(nodes=1, agents=False, extender=False)) as lab:
        request(lab.api, "POST", _LEASES, body={"metadata": {"name": "somebody"}, "spec": {"holderIdentity": "x"}})
        binding = request(lab.api, "GET", _OURS)
        binding["metadata"] = {"name": binding["metadata"]["name"]}
        _measured(lab)
        without: list[tuple[float, float]] = []
        with_it: list[tuple[float, float]] = []
        for _ in range(_ROUNDS):
            request(lab.api, "DELETE", _OURS)
            _wait(lab, lambda microseconds: microseconds < with_it[-1][0] / 2 if with_it else True)
            without.append(_measured(lab))
            request(lab.api, "POST", _BINDINGS, body=binding)
            _wait(lab, lambda microseconds: microseconds > without[-1][0] * 2)
            with_it.append(_measured(lab))
        for name, found in (("without the policy", without), ("with the policy", with_it)):
            admission, cpu = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{name}: {admission:.1f} us of admission, {cpu:.0f} us of CPU for the whole write")


def _wait(lab: Lab, seen: Callable[[float], bool]) -> None:
    """Wait until the API server applies the change. Gives up after 20 checks; the figures then show it."""
    for _ in range(20):
        time.sleep(POLL_SECONDS)
        if seen(_measured(lab, 20)[0]):
            return


def _measured(lab: Lab, writes: int = _WRITES) -> tuple[float, float]:
    """Microseconds of admission by policies, and of CPU, per renewal of a Lease."""
    before = _counters(lab)
    for number in range(writes):
        body: dict[str, Any] = {"spec": {"leaseDurationSeconds": number + 1}}
        request(lab.api, "PATCH", f"{_LEASES}/somebody", body=body, content_type=MERGE_PATCH)
    spent, count, cpu = (after - first for after, first in zip(_counters(lab), before, strict=True))
    return spent / count * 1e6, cpu / count * 1e6


def _counters(lab: Lab) -> tuple[float, float, float]:
    response = open_stream(lab.api, "GET", "/metrics", timeout=(5.0, 60.0))
    page = response.read().decode()
    response.response.release_conn()
    patterns = (_HISTOGRAM.format("sum"), _HISTOGRAM.format("count"), _SERVER_CPU)
    found = (sum(map(float, re.findall(pattern, page, re.MULTILINE))) for pattern in patterns)
    spent, count, cpu = found
    return spent, count, cpu


if __name__ == "__main__":
    main()
