# SPDX-License-Identifier: Apache-2.0
"""How long a start takes: compiling, with a program that was kept, and taking over a predecessor's.

``python -m lab.kernelvm run --kernel 6.12 --timeout 1800 -- python3 -m lab.bench.vm.start [--rounds 3]``. Each
start is a process of its own in a memory cgroup of its own. It imports what the agent imports, opens the eBPF
source and reads once; the API server has no part in it. ``import`` and ``open`` are seconds, ``peak_mib`` is what
the cgroup held at most, the compiling child included. The ways take turns, so that other load of the machine meets
all of them. An emulated processor is many times slower than a real one: compare the ways.

Prints lines of JSON; the last line has the medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import orjson
import structlog

from lab.bench.figures import spread
from lab.bench.vm import node as vm_node
from lab.network import netns
from nodeagent.sources.ebpf.kernel import pins

WAYS: Final = ("compiles", "kept", "pinned")
_CGROUPS: Final = Path("/sys/fs/cgroup")

Start = dict[str, object]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start", nargs=2, metavar=("WAY", "FOLDER"), help="one start, in this process")
    options = parser.parse_args()
    if options.start:
        way, folder = options.start
        print(orjson.dumps(started(way, Path(folder))).decode())
        return 0
    (_CGROUPS / "cgroup.subtree_control").write_text("+memory")
    found: dict[str, list[Start]] = {way: [] for way in WAYS}
    with vm_node.node() as made, tempfile.TemporaryDirectory() as folder:
        observed("kept", made.node, folder)  # compiles what the others find
        observed("leaves", made.node, folder)
        try:
            for _ in range(options.rounds):
                for way in WAYS:
                    found[way].append(one := observed(way, made.node, folder))
                    print(orjson.dumps(one).decode(), flush=True)
        finally:
            pins.discard_all()
    print(orjson.dumps({way: medians(starts) for way, starts in found.items()}).decode())
    return 0


def observed(way: str, node: str, folder: str) -> Start:
    """One start in a process and a cgroup of its own."""
    group = Path(tempfile.mkdtemp(prefix="start-", dir=_CGROUPS))
    enter = ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
    begun = time.monotonic()
    try:
        with netns.entered(node):
            done = subprocess.run(
                [*enter, sys.executable, "-m", "lab.bench.vm.start", "--start", way, folder],
                stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
        seconds = round(time.monotonic() - begun, 2)
        peak = int((group / "memory.peak").read_text()) >> 20
    finally:
        group.rmdir()
    return {"way": way, "seconds": seconds, "peak_mib": peak, **orjson.loads(done.stdout.splitlines()[-1])}


def started(way: str, folder: Path) -> Start:
    """The start itself, in the network namespace of this thread."""
    begun = time.monotonic()
    import nodeagent.run  # noqa: F401, PLC0415 - what the agent imports is part of its start
    from nodeagent.sources.ebpf.compiling import cache  # noqa: PLC0415
    from nodeagent.sources.ebpf.loader import Options  # noqa: PLC0415
    from nodeagent.sources.ebpf.source import EbpfSource  # noqa: PLC0415

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    imported = time.monotonic()
    options = Options(
        compile_timeout=vm_node.COMPILE_SECONDS,
        kept=None if way == "compiles" else folder,
        pins=pins.ROOT if way in ("pinned", "leaves") else None,
    )
    source = EbpfSource(locality=vm_node.locality(), options=options, keep=way in ("pinned", "leaves"))
    source.open()
    source.read(time.monotonic())
    opened = time.monotonic()
    told: Start = {
        "import": round(imported - begun, 2), "open": round(opened - imported, 2),
        "adopted": source.adopted, "builds": dict(cache.counts),
    }  # fmt: skip
    source.close()
    return told


def medians(starts: list[Start]) -> dict[str, object]:
    names = ("seconds", "import", "open", "peak_mib")
    return {name: spread([float(str(start[name])) for start in starts]) for name in names}


if __name__ == "__main__":
    sys.exit(main())
