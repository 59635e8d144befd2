# SPDX-License-Identifier: Apache-2.0
"""Mice's latency and elephants' goodput over one shaped uplink, by its qdisc, without tuning and with it.

``python -m lab.kernelvm run --kernel 6.12 --timeout 1800 -- python3 -m lab.bench.vm.tuning --rate 50``. The uplink
is an HTB class of that rate, in Mbit/s, with the qdisc inside. Elephants send from one pod, mice ask from another.
With tuning, the ctnetlink source finds the elephants, and ``PriorityPart`` acts as in the agent. Cases take turns,
so that other load on the machine meets all of them. It runs on any machine with root, and leaves out the qdiscs
that its kernel does not have. Prints JSON: p50 and p99 in ms, goodput in Mbit/s, each the median of the rounds.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from lab.bench.vm import node as vm_node
from lab.bench.vm.as_agent import as_its_agent
from lab.bench.vm.node import SERVER, UPLINK, BenchNode
from lab.network import netns
from lab.network.shaping import FIFO_BYTES, GSO_BYTES

_ROOT: Final = Path(__file__).resolve().parents[3]
_LIMIT: Final = f"limit {FIFO_BYTES}b"
QDISCS: Final = {
    "bfifo": f"bfifo {_LIMIT}",
    "pfifo_fast": "pfifo_fast",
    "prio": "prio",
    "fq_codel": "fq_codel",
    "fq": "fq",
}
"""What is inside of the shaped class."""
TUNING: Final = ("without", "with")
_MICE_RATE: Final = 100
_SETTLE: Final = 8.0
"""Seconds of every run that are not counted: TCP fills the queue, and the elephants are found."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rate", type=int, default=200, help="Mbit/s of the uplink")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of each run that count")
    parser.add_argument("--elephants", type=int, default=4)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with vm_node.node() as made, _servers(made):
        report = measure(made, options)
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


def measure(made: BenchNode, options: argparse.Namespace) -> dict[str, Any]:
    """Of each qdisc that there is, the idle link first."""
    known = [name for name in QDISCS if _shape(made, name, options.rate)]
    taken: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        _shape(made, "bfifo", options.rate)
        taken.setdefault("no elephants", []).append(_run(made, options, elephants=0, tune=False))
        for name in known:
            for tuning in TUNING:
                _shape(made, name, options.rate)
                run = _run(made, options, elephants=options.elephants, tune=tuning == "with")
                taken.setdefault(f"{name}, {tuning} tuning", []).append(run)
    return {
        "kernel": platform.release(),
        "rate_mbit": options.rate,
        "elephants": options.elephants,
        "left_out": sorted(set(QDISCS) - set(known)),
        "cases": {
            case: {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
            for case, runs in taken.items()
        },
    }


def _shape(made: BenchNode, name: str, rate: int) -> bool:
    """Whether the kernel has that qdisc."""
    script = (
        f"qdisc replace dev {UPLINK} root handle 1: htb default 1\n"
        f"class replace dev {UPLINK} parent 1: classid 1:1 htb rate {rate}mbit burst {GSO_BYTES}b "
        f"cburst {GSO_BYTES}b quantum {GSO_BYTES}\n"
        f"qdisc replace dev {UPLINK} parent 1:1 handle 10: {QDISCS[name]}\n"
    )
    if (
        name == "prio"
    ):  # its children are FIFOs of as many packets as the device's queue has: as long as the others
        script += "".join(f"qdisc replace dev {UPLINK} parent 10:{band} bfifo {_LIMIT}\n" for band in (1, 2, 3))
    with netns.entered(made.node):
        subprocess.run(["tc", "qdisc", "del", "dev", UPLINK, "root"], capture_output=True, check=False)
        done = subprocess.run(["tc", "-batch", "-"], input=script, text=True, capture_output=True, check=False)
    return done.returncode == 0


def _run(made: BenchNode, options: argparse.Namespace, *, elephants: int, tune: bool) -> dict[str, float]:
    seconds = options.seconds + _SETTLE
    with as_its_agent(made.node, vm_node.locality(), UPLINK) if tune else ExitStack():
        far = f"--report={seconds + 60}"
        sender = None
        if elephants:
            wide = f"--connections={elephants}"
            sender = _start(made.pods, "elephant", f"{SERVER}:5001", f"--seconds={seconds}", wide, far)
        asking = (f"--seconds={seconds}", f"--rate={_MICE_RATE}", f"--warmup={_SETTLE}", far)
        mouse = _start(made.pods, "mouse", f"{SERVER}:8080", *asking)
        found = _result(mouse, seconds)
        goodput = _result(sender, seconds)["goodput"] / 1e6 if sender else 0.0
    latency = found["latency_ms"]
    return {"p50_ms": latency["p50"], "p99_ms": latency["p99"], "goodput_mbit": goodput}


@contextmanager
def _servers(made: BenchNode) -> Iterator[None]:
    started = [_start(made.server, "sink", "--port=5001"), _start(made.server, "mouse_server", "--port=8080")]
    try:
        yield
    finally:
        for one in started:
            one.terminate()
            one.communicate(timeout=30)


def _start(namespace: str, program: str, *arguments: str) -> subprocess.Popen[str]:
    command = netns.command(namespace, [sys.executable, str(_ROOT / f"lab/traffic/{program}.py"), *arguments])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _result(program: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    said, _ = program.communicate(timeout=seconds + 120)
    results = [orjson.loads(line) for line in said.splitlines() if '"result"' in line]
    if not results:
        raise RuntimeError(f"{program.args!r} ended without a result")
    found: dict[str, Any] = results[-1]
    return found


if __name__ == "__main__":
    sys.exit(main())
