# SPDX-License-Identifier: Apache-2.0
"""Kernel time per packet: nanoseconds of the accounting path on this machine, by BPF_PROG_RUN.

``python -m lab.bench.bpf.helpers [--rounds 9] [--output json]``, as root. The helpers are those of the hooked
program (see ``lab.bench.bpf.synthetic``). They read an entry's fields once by plain loads, as under fentry, and
once through the kernel's helper, as under kprobe. The cost of the test frame around them is measured and
subtracted. Entering the hook (a trampoline, or a probe) costs more, and is not measured here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table

from lab.bench.bpf.synthetic import FOREIGN, NAMESPACE, Synthetic, What
from nodeagent.sources.base import FlowThresholds, SourceUnavailable
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel.layout import Config
from nodeagent.sources.ebpf.values import configure, wide

_FLOWS: Final = 20_000
_REPEAT: Final = 1_000_000
_POD, _PEER = bytes([10, 0, 0, 1]), bytes([10, 0, 1, 1])
_TAG: Final = 1 << 12 | 2
_GOALS: Final = {"known mouse": 100, "known elephant": 100, "foreign flow": 40}


@dataclass(frozen=True, slots=True)
class HelperCost:
    """One case. Nanoseconds per packet, the frame subtracted: median and extremes of the rounds."""

    mode: str
    case: str
    nanoseconds: float
    lowest: float
    highest: float
    goal: float | None = None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9, help="runs per case; the median counts (default 9)")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    if os.geteuid() != 0:
        print("error: BPF_PROG_RUN needs root; run with sudo", file=sys.stderr)
        return 2
    try:
        costs = measure(max(options.rounds, 1))
    except (SourceUnavailable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.output == "json":
        print(orjson.dumps([asdict(cost) for cost in costs], option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(table(costs))
    return 0


def measure(rounds: int) -> list[HelperCost]:
    """Every case in both modes."""
    return [cost for mode in Mode for cost in _measure(mode, rounds)]


def _measure(mode: Mode, rounds: int) -> list[HelperCost]:
    with Synthetic(_FLOWS, mode=mode) as synthetic:
        _prepare(synthetic)
        frame = min(synthetic.run(What.NOTHING, repeat=_REPEAT).nanoseconds for _ in range(rounds))
        cases: dict[str, Callable[[], int]] = {
            "known mouse": lambda: _account(synthetic, 1, size=0),
            "known elephant": lambda: _elephant(synthetic),
            "foreign flow": lambda: (
                synthetic.run(What.ACCOUNT, 3, namespace=FOREIGN, size=1500, repeat=_REPEAT).nanoseconds
            ),
            "new flow (first packet and birth)": lambda: _new(synthetic),
        }
        return [_cost(mode, case, run, frame, rounds) for case, run in cases.items()]


def table(costs: list[HelperCost]) -> Table:
    made = Table(title="the accounting path, ns per packet (median of rounds)")
    for column in ("reads as", "case", "ns", "lowest", "highest", "goal"):
        made.add_column(column, justify="left" if column in ("reads as", "case") else "right")
    for cost in costs:
        goal = f"≤ {cost.goal:g}" if cost.goal else ""
        made.add_row(
            cost.mode, cost.case, f"{cost.nanoseconds:.0f}", f"{cost.lowest:.0f}", f"{cost.highest:.0f}", goal
        )
    return made


def _prepare(synthetic: Synthetic) -> None:
    config = Config(netns=NAMESPACE, generation=1, seeded=0)
    configure(config, FlowThresholds(exit_factor=0.0), 0.004)
    synthetic.configure(config)
    for slot, tag in ((0, 0), (1, 1), (2, _TAG)):
        synthetic.maps.give_slot(slot, tag)
    synthetic.maps.write_address(wide(_POD), _TAG)
    for entry in range(_FLOWS):
        synthetic.connect(entry, _POD, _PEER, ports=(1024 + entry, 80), confirmed=entry < 4)


def _account(synthetic: Synthetic, entry: int, size: int) -> int:
    """Packets of a flow that never reaches the elephants' bytes."""
    return synthetic.run(What.ACCOUNT, entry, size=size, repeat=_REPEAT).nanoseconds


def _elephant(synthetic: Synthetic) -> int:
    taken = synthetic.run(What.ACCOUNT, 2, size=64_000, repeat=_REPEAT).nanoseconds
    standing = list(synthetic.maps.elephants())
    flow = synthetic.maps.flow(standing[0].flow) if standing else None
    if flow is None or not flow.elephant:
        raise OSError(0, "the flow did not become an elephant")
    return taken


def _new(synthetic: Synthetic) -> int:
    """Account each entry once. Then end all flows, so that they are new in the next round."""
    taken = synthetic.run(What.NEXT_NEW, size=100, repeat=_FLOWS).nanoseconds
    for entry in range(_FLOWS):
        synthetic.run(What.DEATH, entry)
    return taken


def _cost(mode: Mode, case: str, run: Callable[[], int], frame: int, rounds: int) -> HelperCost:
    run()  # the first round also creates the flow
    taken = [max(run() - frame, 0) for _ in range(rounds)]
    return HelperCost(mode.value, case, statistics.median(taken), min(taken), max(taken), _GOALS.get(case))


if __name__ == "__main__":
    sys.exit(main())
