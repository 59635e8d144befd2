# SPDX-License-Identifier: Apache-2.0
"""When placement helps, when a better queue helps, and when neither does: mice and elephants, every combination.

``sudo python -m lab.bench.matrix [--output json]``. First the real kube-scheduler places eight mice and two
elephants on four nodes, once by itself and once with the extender. Then a guest with one of Debian's kernels plays
those nodes, with each pod where it was put. Mice ask a server outside. Elephants send to a host outside, or
receive from it, as fast as TCP lets them. The combinations are

- the queue of each node's uplink: a FIFO of 1,000 packets, pfifo_fast, fq_codel, fq;
- where the elephants' bottleneck is: their own node's uplink, or the switch's port before their node, which is a
  FIFO in every case, for no node has a say in it;
- the placement;
- the agent's tuning: off, or elephants marked so that they leave after others.

Latencies count from when a request was due. The last row is one mouse on a network without elephants, which asks
as often as all mice together. A guest's processors are emulated: compare a figure with that row.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.console import Console

from footprint.cluster.client import ApiError
from lab.bench.matrix import cells, guest, places
from lab.errors import LabError
from lab.kernelvm import vm
from lab.kernelvm.kernels import KERNELS, by_name
from lab.traffic.common import positive

_TIMEOUT = 3600.0
"""Of the guest's whole life, seconds."""


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 with one line on stderr when it could not be measured."""
    options = _parser().parse_args(argv)
    try:
        kernel = by_name(options.kernel)
        plan = guest.Plan(
            places.places(_say, options.keep),
            qdiscs=tuple(options.queue or cells.QDISCS),
            bottlenecks=tuple(options.bottleneck or cells.BOTTLENECKS),
            tunings=(False,) if options.untuned else (False, True),
            seconds=options.seconds, rate=options.rate,
        )  # fmt: skip
        _say(f"a guest with kernel {kernel.name} measures; that takes a while")
        output = io.BytesIO()
        command = ["python3", "-m", "lab.bench.matrix.guest", plan.to_json()]
        done = vm.run(kernel, command, timeout=_TIMEOUT, write=output.write)
        if done.status:
            raise LabError(output.getvalue().decode(errors="replace").strip()[-2000:])
        found = orjson.loads(output.getvalue().splitlines()[-1])
    except (LabError, ApiError) as error:
        print(f"matrix: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        machine = {"kernel": kernel.name, "load": [round(value, 2) for value in os.getloadavg()]}
        print(orjson.dumps({**machine, **found}).decode())
    else:
        Console(width=170).print(cells.table(*cells.from_json(found)))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.bench.matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", default=KERNELS[-1].name, help="the guest's (default %(default)s)")
    parser.add_argument("--seconds", type=positive, default=20.0, help="measured in each cell (default 20)")
    parser.add_argument("--rate", type=positive, default=20.0, help="requests a second of each mouse (default 20)")
    parser.add_argument("--queue", action="append", choices=list(cells.QDISCS), help="only these; may be repeated")
    parser.add_argument("--bottleneck", action="append", choices=list(cells.BOTTLENECKS), help="only these")
    parser.add_argument("--untuned", action="store_true", help="leave the agent's tuning out")
    parser.add_argument("--keep", type=Path, help="folder for the logs of the clusters that place")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
