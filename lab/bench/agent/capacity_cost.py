# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.bench.agent.capacity_cost``: what it costs to follow an uplink beside the interfaces of pods.

Enters: a number of pods. Leaves: CPU time of this process for one look at an uplink's queue and counters. Needs
root: the interfaces are made in a network namespace of their own.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lab.network import commands, netns
from nodeagent.node.capacity.links import LinkCapacities, Load

if TYPE_CHECKING:
    from collections.abc import Iterator

READINGS: Final = 300
UPLINK: Final = "uplink"


@contextmanager
def _node(pods: int) -> Iterator[str]:
    """A namespace with an uplink and an interface for each pod."""
    name = f"tfb-{os.getpid()}"
    netns.create(name)
    try:
        pairs = [(UPLINK, "far"), *((f"pod{n}", f"peer{n}") for n in range(pods))]
        lines = (f"link add {near} type veth peer name {far}\nlink set {near} up\n" for near, far in pairs)
        commands.ip_batch(name, "".join(lines))
        yield name
    finally:
        netns.delete(name)


def cost(pods: int, readings: int = READINGS) -> float:
    """CPU seconds of one reading, in the mean."""
    with _node(pods) as name, netns.entered(name):
        links = LinkCapacities(assumed=1e9)
        links.advance({UPLINK: Load()}, 0.0)
        began = time.process_time()
        for second in range(1, readings + 1):
            links.advance({UPLINK: Load()}, float(second))
        return (time.process_time() - began) / readings


def main() -> None:
    """Print one line for each number of pods."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.agent.capacity_cost", description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[10, 100, 250])
    for pods in parser.parse_args().pods:
        print(f"{pods:4} pods: {cost(pods) * 1e3:.2f} ms of CPU for a reading")


if __name__ == "__main__":
    main()
