# SPDX-License-Identifier: Apache-2.0
"""How long the chart's agent takes to begin in its real container, on a node in a virtual machine.

``python -m lab.bench.vm.starts [--kernel 6.12] [--rounds 3]`` starts a lab with one such node and installs the
chart's agents. Each start is a new pod of the DaemonSet there. What the one before left is removed first, as the
way asks: ``compiled`` finds nothing, ``kept`` the compiled object, ``pinned`` the running program too. The ways
take turns, so that other load of the machine meets all of them. Seconds are by the node's own clock, from the
start of the container (as the runtime states it) to the log's line that the program counts, and to the first write
of the Node. An emulated processor is many times slower than a real one: compare the ways.

Prints a line of JSON for each start; the last line has the medians and extremes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from lab.bench import release
from lab.bench.figures import spread
from lab.config import LabConfig
from lab.errors import LabError
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.node import Node
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.kernel import pins

WAYS: Final = ("compiled", "kept", "pinned")
"""As the agent's log calls them."""
COUNTS: Final = "measuring with eBPF on conntrack"
WRITTEN: Final = "node written"
NODE: Final = "node2"
ALONE: Final = ("--set=extender.enabled=false", "--set=scheduler.enabled=false")
_MINUTES: Final = 9
_SECONDS: Final = 420.0
_BETWEEN: Final = 1.0

Start = dict[str, str | float]


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 when the lab could not run."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.vm.starts", description=__doc__)
    parser.add_argument("--kernel", default="6.12")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    try:
        with RealLab(LabConfig(nodes=1), vms=(options.kernel,)) as lab:
            release.install(lab, *ALONE, minutes=_MINUTES)
            found = list(_starts(lab, options.rounds))
    except LabError as error:
        print(f"starts of agents: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary(found)))
    return 0


def _starts(lab: RealLab, rounds: int) -> Iterator[Start]:
    for _ in range(rounds):
        for way in WAYS:
            one = _start(lab, way)
            print(json.dumps(one), flush=True)
            yield one


def _start(lab: RealLab, way: str) -> Start:
    """Replace the agent. Raises LabError when the new one did not begin this way."""
    node, before = lab.node(NODE), _agent(lab)
    left = {"compiled": (pins.ROOT, f"{cache.DIRECTORY}/*"), "kept": (pins.ROOT,), "pinned": ()}[way]
    node.run(["sh", "-c", " ".join(["rm", "-rf", *map(str, left)])])
    lab.kubectl("-n", release.NAME, "delete", "pod", before["metadata"]["name"], "--timeout=110s")
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        pod = _agent(lab)
        if pod and pod["metadata"]["uid"] != before["metadata"]["uid"] and _ready(pod):
            return {"way": way, **begun(_inspected(node, pod), _log(node, pod), way)}
        time.sleep(_BETWEEN)
    raise LabError(f"no agent is ready {_SECONDS:g} s after its predecessor was deleted")


def _agent(lab: RealLab) -> dict[str, Any]:
    """The agent's pod that is not being deleted; empty when there is none."""
    asked = (
        "-l",
        "app.kubernetes.io/component=nodeagent",
        "--field-selector",
        f"spec.nodeName={NODE}",
        "-o",
        "json",
    )
    items = json.loads(lab.kubectl("-n", release.NAME, "get", "pods", *asked))["items"]
    return next((each for each in items if not each["metadata"].get("deletionTimestamp")), {})


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def _inspected(node: Node, pod: dict[str, Any]) -> str:
    """When the pod's container began, as the runtime states it."""
    (status,) = pod["status"]["containerStatuses"]
    if status["restartCount"]:
        raise LabError("the agent was restarted: the machine is too busy for a measurement")
    shown = json.loads(node.crictl("inspect", status["containerID"].removeprefix("containerd://")))
    return str(shown["status"]["startedAt"])


def _log(node: Node, pod: dict[str, Any]) -> str:
    """The runtime's own file of what it logged."""
    about = pod["metadata"]
    folder = f"/var/log/pods/{about['namespace']}_{about['name']}_{about['uid']}/nodeagent"
    return node.run(["cat", f"{folder}/0.log"])


def begun(started: str, log: str, way: str) -> dict[str, float]:
    """Seconds from ``started`` to what the ``log`` tells, both in the runtime's formats. Raises LabError when the
    agent did not begin this way."""
    begin = _moment(started)
    found: dict[str, float] = {}
    for line in log.splitlines():
        stamp, _, _, text = line.split(" ", 3)
        said = json.loads(text) if text.startswith("{") else {}
        event = said.get("event", "")
        if event == COUNTS and said["program"] != way:
            raise LabError(f"the program was {said['program']}, not {way}")
        for name, meant in (("counts", COUNTS), ("written", WRITTEN)):
            if event == meant and name not in found:
                found[name] = round((_moment(stamp) - begin).total_seconds(), 2)
    if "counts" not in found:
        raise LabError(f"the agent does not measure by eBPF: {log[-500:]}")
    return found


def _moment(text: str) -> datetime:
    """Nanoseconds are cut to what Python knows."""
    seconds, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :].replace("Z", "+00:00")
    return datetime.fromisoformat(f"{seconds}.{digits[:6].ljust(6, '0')}{zone}")


def summary(starts: Sequence[Start]) -> dict[str, dict[str, dict[str, float]]]:
    """By way and by what was waited for."""
    return {
        way: {
            name: spread([float(one[name]) for one in starts if one["way"] == way and name in one], 1)
            for name in ("counts", "written")
            if any(one["way"] == way and name in one for one in starts)
        }
        for way in WAYS
    }


if __name__ == "__main__":
    sys.exit(main())
