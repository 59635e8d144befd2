# SPDX-License-Identifier: Apache-2.0
"""Guest instructions that hooks add to a packet: none, an empty program, ours; by fentry, by kprobe, at sockets.

``python -m lab.bench.vm.instructions [--kernel 6.12] [--packets 4000] [--beside FOLDER]``, on a machine with QEMU.
In ``FOLDER``, below the checkout, are other sources of the programs, which count at sockets in the same run. The
guest runs with the accelerator ``counted``: one processor, one nanosecond per instruction. Its clock counts
instructions, and gives the same figure in every run of the same program. A pod sends datagrams of one flow through
the node without a pause. One packet is the whole path: system call, forwarding, conntrack, delivery. The
difference to the same path without hooks is what the hooks cost. Prints JSON.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
import structlog

from lab.bench.vm import node as vm_node
from lab.bench.vm.node import pod_address
from lab.errors import LabError
from lab.kernelvm import vm
from lab.kernelvm.kernels import by_name
from lab.network import netns
from nodeagent.sources.cgroup import CgroupSource, root
from nodeagent.sources.ebpf import programs
from nodeagent.sources.ebpf.compiling.build import SOURCES_VARIABLE, Build, BuildRequest, build
from nodeagent.sources.ebpf.compiling.hooks import Mode, Role
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import AttachType, ProgramType
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.programs import Programs
from nodeagent.sources.ebpf.source import EbpfSource

_EMPTY: Final = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
"""r0 = 0; exit."""
_PASSES: Final = bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
"""r0 = 1; exit."""
_TAKEN: Final = 9_999
"""A port at which the server takes datagrams."""
_SETTLE: Final = 300
_QUIET: Final = 3.0
"""Seconds for the kernel's deferred work, such as freeing the maps of the case before."""
_KEPT: Final = Path("/var/tmp/traffic-footprint-bench")  # noqa: S108 - inside the guest
_TIMEOUT: Final = 900.0
Run = Callable[[], float]
Sources = Mapping[str, Path | None]
"""Name → where the programs' sources are."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--kernel", default="6.12")
    parser.add_argument("--packets", type=int, default=4_000, help="per round")
    parser.add_argument("--rounds", type=int, default=9, help="the median counts")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="other sources, counted at sockets as well")
    parser.add_argument("--inside", action="store_true", help="measure here, inside the counting guest")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if options.inside:
        found = measure(options.packets, options.rounds, options.beside)
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return 0
    try:
        module = ["python3", "-m", "lab.bench.vm.instructions", "--inside"]
        module += [f"--packets={options.packets}", f"--rounds={options.rounds}"]
        module += [f"--beside={options.beside}"] if options.beside else []
        return boot(options.kernel, module)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def boot(kernel: str, command: list[str]) -> int:
    """Run ``command`` in a guest whose clock counts instructions. Returns its status. Raises LabError."""
    return vm.run(by_name(kernel), command, accelerator="counted", timeout=_TIMEOUT).status


def measure(packets: int, rounds: int, beside: Path | None = None) -> dict[str, object]:
    """Instructions per packet, and what each case adds."""
    _KEPT.mkdir(mode=0o700, parents=True, exist_ok=True)
    with vm_node.node() as made, netns.entered(made.node), vm_node.send(pod_address(0), made) as sender:

        def run() -> float:
            return _per_packet(lambda: sender.sendto(b"x" * 100, (vm_node.SERVER, vm_node.SILENT[0])), packets)

        base = _median(run, rounds)
        report: dict[str, object] = {"hooks off": base}
        for mode in Mode:
            with _empty(mode):
                report[f"empty {mode}"] = _added(_median(run, rounds), base)
            with _ours(mode) as source:
                report[f"ours {mode}"] = _added(_median(run, rounds), base)
                counted = source.read(time.monotonic()).owners.get("pod-0")
                if counted is None or counted.tx_packets < packets * rounds:
                    raise SystemExit(f"error: the hooks counted {counted}, not the packets that were sent")
        again = _median(run, rounds)
        report["hooks off again"] = _added(again, base)
        whose = {"ours": None, **({str(beside): beside} if beside else {})}
        for sources in whose.values():
            with _at_sockets_by(sources):
                pass
        report |= _at_sockets(run, whose, packets, rounds)
        return report | _received(made, sender, whose, packets, rounds)


def _at_sockets(run: Run, whose: Sources, packets: int, rounds: int) -> dict[str, object]:
    """The server drops the datagrams before any socket takes them: these are of the sending end alone. The path
    without hooks is measured again before each."""
    report: dict[str, object] = {}
    base = _median(run, rounds)
    with _empty_at_sockets(AttachType.CGROUP_EGRESS):
        report["empty cgroup, sent"] = _added(_median(run, rounds), base)
    for name, sources in whose.items():
        base = _median(run, rounds)
        with _at_sockets_by(sources) as source:
            report[f"{name} cgroup, sent"] = _added(_median(run, rounds), base)
            counted = source.read(time.monotonic()).owners.get("pod-0")
            if counted is None or counted.tx_packets < packets * rounds:
                raise SystemExit(f"error: {name} counted {counted}, not the packets that were sent")
    return report


def _received(
    made: vm_node.BenchNode, sender: socket.socket, whose: Sources, packets: int, rounds: int
) -> dict[str, object]:
    """Both ends on this machine: what is added beyond the sending end is the receiving end's."""
    with netns.entered(made.server):
        taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with taker:
        taker.bind((vm_node.SERVER, _TAKEN))

        def send_and_take() -> None:
            sender.sendto(b"x" * 100, (vm_node.SERVER, _TAKEN))
            taker.recv(2000)

        def run() -> float:
            return _per_packet(send_and_take, packets)

        report: dict[str, object] = {}
        for name, sources in whose.items():
            base = _median(run, rounds)
            report[f"hooks off before {name}, sent and received"] = base
            with _at_sockets_by(sources):
                report[f"{name} cgroup, sent and received"] = _added(_median(run, rounds), base)
        return report


def _per_packet(send: Callable[[], object], packets: int) -> float:
    for _ in range(_SETTLE):
        send()
    before = time.monotonic_ns()
    for _ in range(packets):
        send()
    return (time.monotonic_ns() - before) / packets


def _median(run: Callable[[], float], rounds: int) -> dict[str, float]:
    taken = [run() for _ in range(rounds)]
    return {
        "median": round(statistics.median(taken), 1),
        "least": round(min(taken), 1),
        "most": round(max(taken), 1),
    }


def _added(found: dict[str, float], base: dict[str, float]) -> dict[str, float]:
    return found | {"added": round(found["median"] - base["median"], 1)}


@contextmanager
def _ours(mode: Mode) -> Iterator[EbpfSource]:
    source = EbpfSource(
        locality=vm_node.locality(),
        options=Options(modes=(mode,), pins=None, compile_timeout=vm_node.COMPILE_SECONDS),
    )
    source.open()
    try:
        source.read(time.monotonic())
        yield source
    finally:
        source.close()


@contextmanager
def _at_sockets_by(sources: Path | None) -> Iterator[CgroupSource]:
    """``sources``: None for the checkout's own. Compiled once: a compilation leaves the interpreter's memory in
    another state, which shows in what its system call costs."""
    if sources is not None:
        os.environ[SOURCES_VARIABLE] = str(sources.absolute())
    options = Options(pins=None, kept=_KEPT, compile_timeout=vm_node.COMPILE_SECONDS)
    source = CgroupSource(locality=vm_node.locality(), options=options)
    try:
        source.open()
        source.read(time.monotonic())
        time.sleep(_QUIET)
        yield source
    finally:
        source.close()
        os.environ.pop(SOURCES_VARIABLE, None)
        time.sleep(_QUIET)


@contextmanager
def _empty_at_sockets(hook: AttachType) -> Iterator[None]:
    """A program that passes every packet."""
    program = bpf.program_load(ProgramType.CGROUP_SKB, _PASSES, name="empty", attach_type=hook)
    with root.opened(root.find(None)) as cgroup:
        link = bpf.attach_cgroup(program, cgroup, hook)
    try:
        yield
    finally:
        os.close(link)
        os.close(program)


@contextmanager
def _empty(mode: Mode) -> Iterator[Programs]:
    """A program that does nothing, on the accounting hook only."""
    built = build(BuildRequest(mode, timeout=vm_node.COMPILE_SECONDS))
    plan = built.plan
    hooks = tuple(hook for hook in plan.hooks if hook.role is Role.ACCOUNT)
    bare = type(plan)(plan.mode, plan.module, hooks, plan.defines)
    loaded = programs.load(Build(bare, {Role.ACCOUNT.value: _EMPTY}), {})
    running = programs.attach(bare, loaded)
    try:
        yield running
    finally:
        running.close()


if __name__ == "__main__":
    sys.exit(main())
