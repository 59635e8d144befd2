# SPDX-License-Identifier: Apache-2.0
"""CPU time to read the connection table: our source, pyroute2 and ``conntrack -L`` on the same entries.

``python -m lab.bench.agent.ctnetlink [--entries 50000] [--output json]``, as root. Real connections over loopback
(half TCP, half UDP) fill a private network namespace. Then each reader dumps them. CPU is user and system time of
the reader's process. The namespace is removed afterwards, and a raised limit restored.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog
from rich.console import Console
from rich.table import Table

from lab.bench.process_cost import resident_bytes
from lab.network import netns
from nodeagent.sources.base import Locality, SourceUnavailable
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ctnetlink.socket import ConntrackSockets
from nodeagent.sources.ctnetlink.wire import Decoder

_NETFILTER: Final = Path("/proc/sys/net/netfilter")
_PORTS: Final = 25_000
"""Connections per loopback address, well inside the range of local ports."""
_PORT: Final = 7


@dataclass(frozen=True, slots=True)
class ReadingCost:
    """CPU of one reader. ``seconds`` is the median of the rounds."""

    reader: str
    seconds: float
    rounds: int
    entries: int

    @property
    def per_entry(self) -> float:
        """Microseconds."""
        return self.seconds / self.entries * 1e6


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--entries", type=int, default=50_000, help="connections in the table (default 50000)")
    parser.add_argument("--rounds", type=int, default=5, help="dumps per reader; the median counts (default 5)")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    if os.geteuid() != 0:
        print("error: network namespaces need root; run with sudo", file=sys.stderr)
        return 2
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespace goes and the limit is restored
    try:
        with raised_limit(options.entries), filled_namespace(options.entries):
            costs, memory = measure(options.rounds)
    except (SourceUnavailable, netns.NamespaceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.output == "json":
        print(orjson.dumps(report(costs, memory), option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(table(costs, memory))
    return 0


def measure(rounds: int) -> tuple[list[ReadingCost], int]:
    """Costs of every reader in this thread's namespace, and resident bytes of our source's flow table."""
    entries = int((_NETFILTER / "nf_conntrack_count").read_text())
    source = CtnetlinkSource(locality=Locality(node=frozenset({socket.inet_aton("127.0.0.1")})))
    decoder = Decoder()
    before = resident_bytes(os.getpid())
    source.open()
    sockets = ConntrackSockets(decoder, Counter())
    try:
        source.read(time.monotonic())
        memory = resident_bytes(os.getpid()) - before
        readers: list[tuple[str, Callable[[], object], int]] = [
            ("source.read()", lambda: source.read(time.monotonic()), resource.RUSAGE_SELF),
            ("dump and decode alone", lambda: sockets.dump(lambda _: None), resource.RUSAGE_SELF),
            ("conntrack -L -o extended", _conntrack_tool, resource.RUSAGE_CHILDREN),
            ("pyroute2 NFCTSocket.dump()", _pyroute2, resource.RUSAGE_SELF),
        ]
        found = [ReadingCost(name, _cpu(run, who, rounds), rounds, entries) for name, run, who in readers]
        tracked = source.read(time.monotonic()).flows
    finally:
        sockets.close()
        source.close()
    if not 0.99 * entries <= tracked <= 1.01 * entries:
        raise OSError(f"the source tracks {tracked} of {entries} entries, so the figures cannot be compared")
    return found, memory


def _cpu(run: Callable[[], object], who: int, rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        before = resource.getrusage(who)
        run()
        after = resource.getrusage(who)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(taken)


def _conntrack_tool() -> None:
    for family in ("ipv4", "ipv6"):  # by default the tool lists IPv4 only
        argv = ["conntrack", "-L", "-o", "extended", "-f", family]
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def _pyroute2() -> None:
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket  # noqa: PLC0415 - a development dependency

    with NFCTSocket() as conntrack:
        for _ in conntrack.dump():
            pass


@contextmanager
def raised_limit(entries: int) -> Iterator[None]:
    """Let the kernel's table, which all namespaces share, hold ``entries``. Restores the limit afterwards."""
    path = _NETFILTER / "nf_conntrack_max"
    before = path.read_text()
    if int(before) >= entries * 2:
        yield
        return
    path.write_text(str(entries * 2))
    try:
        yield
    finally:
        path.write_text(before)


@contextmanager
def filled_namespace(entries: int) -> Iterator[None]:
    """Put this thread into a new namespace whose table has ``entries`` connections."""
    name = f"tf-bench-{os.getpid()}"
    netns.create(name)
    try:
        with netns.entered(name):
            _track_everything()
            _fill_udp(entries // 2)
            _fill_tcp(entries - entries // 2)
            yield
    finally:
        netns.delete(name)


def _track_everything() -> None:
    for knob, value in (
        ("nf_conntrack_acct", 1), ("nf_conntrack_timestamp", 1), ("nf_conntrack_udp_timeout", 3600),
        ("nf_conntrack_udp_timeout_stream", 3600), ("nf_conntrack_tcp_timeout_close", 3600),
    ):  # fmt: skip
        (_NETFILTER / knob).write_text(str(value))
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("10000 65000")
    rules = "table inet bench { chain output { type filter hook output priority 0; ct state new counter; }; }"
    subprocess.run(["nft", rules], check=True)


def _fill_udp(entries: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(entries):
            address, port = divmod(number, _PORTS)
            with suppress(ConnectionRefusedError):
                sender.sendto(b"x", (f"127.0.1.{address + 1}", 10_000 + port))


def _fill_tcp(entries: int) -> None:
    reset = struct.pack("ii", 1, 0)  # close by RST, so that no socket lingers; the entry does
    with socket.create_server(("0.0.0.0", _PORT), backlog=1024) as listener:
        for number in range(entries):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                client.bind(("127.0.0.1", 10_000 + number % _PORTS))
                client.connect((f"127.0.2.{number // _PORTS + 1}", _PORT))
                listener.accept()[0].close()


def ratio(costs: list[ReadingCost], reader: str) -> float:
    """CPU of ``source.read()`` divided by that of the reader whose name begins with ``reader``."""
    other = next(cost for cost in costs if cost.reader.startswith(reader))
    return costs[0].seconds / other.seconds


def report(costs: list[ReadingCost], memory: int) -> dict[str, object]:
    return {
        "readers": [{**asdict(cost), "us_per_entry": round(cost.per_entry, 3)} for cost in costs],
        "read_over_pyroute2": round(ratio(costs, "pyroute2"), 4),
        "read_over_conntrack_tool": round(ratio(costs, "conntrack"), 4),
        "table_bytes_per_entry": round(memory / costs[0].entries),
    }


def table(costs: list[ReadingCost], memory: int) -> Table:
    shown = Table(
        title=f"CPU per dump of {costs[0].entries} connections, median of {costs[0].rounds}",
        caption=f"our flow table: {memory / costs[0].entries:.0f} bytes resident per entry",
    )
    for column, justify in (
        ("reader", "left"),
        ("CPU s", "right"),
        ("µs per entry", "right"),
        ("read() is", "right"),
    ):
        shown.add_column(column, justify="left" if justify == "left" else "right")
    for cost in costs:
        times = f"{costs[0].seconds / cost.seconds:.3f} of it"
        shown.add_row(cost.reader, f"{cost.seconds:.3f}", f"{cost.per_entry:.2f}", times)
    return shown


if __name__ == "__main__":
    sys.exit(main())
