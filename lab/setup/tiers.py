# SPDX-License-Identifier: Apache-2.0
"""``python3 lab/setup/tiers.py TIER...``: make each tier in turn, as ``make test`` does.

Enters: names of make targets. Leaves: what is about to run and how long it takes on this machine, each tier's own
output, then what each one did and took. Guarantees: a tier that failed does not keep the later ones from running,
a tier that cannot run says why, and neither counts as passed (exit status 1). Where setting up fails, the rest
cannot run. The seconds that a whole tier took are kept outside the checkout, in
``$XDG_CACHE_HOME/traffic-footprint/tiers.json`` (default ``~/.cache``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).parents[2]
RESULTS: Final = Path("build") / "tiers"
"""Below the checkout: how many tests passed, failed, were skipped, and which failed; ``tests.tier`` writes it."""
SHOWN: Final = 12
"""Failed tests of a tier that are named at the end."""

PASSED: Final = "passed"
FAILED: Final = "FAILED"
CANNOT_RUN: Final = "CANNOT RUN"


@dataclass(frozen=True)
class Tier:
    """A make target of ``make test``."""

    does: str
    seconds: float
    """On two cores with built caches: what is said before this machine has a figure of its own."""
    root: bool = False
    everything: bool = False
    """Nothing after it can run where it failed."""


TIERS: Final = {
    "setup": Tier("packages, Python environment, control plane (12 min the first time)", 20, everything=True),
    "check": Tier("formatting, lint, types, import contracts", 60),
    "unit": Tier("tests that need no privilege", 380),
    "netns": Tier("real packets in network namespaces", 130, root=True),
    "images": Tier("container images", 180, root=True),
    "cluster": Tier("real control plane", 880, root=True),
    "kernel": Tier("virtual machines with Debian's kernels", 1180, root=True),
    "node": Tier("kubelet, containerd and kube-proxy (9 min more the first time)", 720, root=True),
    "vmnodes": Tier("a node with a kernel of its own, in a virtual machine", 640, root=True),
}


@dataclass(frozen=True)
class TierResult:
    """What became of one tier. ``why`` explains a tier that could not run, or tells what it counted."""

    name: str
    state: str
    seconds: float = 0.0
    why: str = ""
    failures: tuple[str, ...] = ()
    """Names of tests."""


def run(names: Sequence[str], seconds: Path, *, make: Sequence[str], is_root: bool) -> list[TierResult]:
    """Make the tiers one after the other."""
    known = _read(seconds)
    print(plan(names, known), flush=True)
    results: list[TierResult] = []
    stopped = ""
    for name in names:
        tier = TIERS[name]
        if stopped:
            results.append(TierResult(name, CANNOT_RUN, why=f"{stopped} failed"))
        elif tier.root and not is_root:
            results.append(TierResult(name, CANNOT_RUN, why=f"needs root: sudo -E make {name}"))
        else:
            results.append(_make(name, make))
            if results[-1].state == PASSED and not os.environ.get("RESUME"):
                known[name] = round(results[-1].seconds, 1)
                _write(seconds, known)
            elif results[-1].state == FAILED and tier.everything:
                stopped = name
    print(summary(results), flush=True)
    return results


def plan(names: Sequence[str], known: Mapping[str, float]) -> str:
    """What will run and about how long each takes."""
    expected = {name: known.get(name, TIERS[name].seconds) for name in names}
    lines = [
        f"  {name:8} {_clock(expected[name]):>6}  {TIERS[name].does}"
        + ("" if name in known else " (not timed on this machine yet)")
        for name in names
    ]
    return "\n".join([f"== about {_clock(sum(expected.values()))} min in all, with built caches", *lines])


def summary(results: Sequence[TierResult]) -> str:
    """What each tier did and took, and how to go on after a failure."""
    lines = [f"== {_clock(sum(result.seconds for result in results))} min in all"]
    for r in results:
        lines.append(f"  {r.name:8} {_clock(r.seconds):>6}  {r.state}{f': {r.why}' if r.why else ''}")
        lines += [f"    {name}" for name in r.failures[:SHOWN]]
        if len(r.failures) > SHOWN:
            lines.append(f"    and {len(r.failures) - SHOWN} more")
    failed = [result.name for result in results if result.state == FAILED]
    if failed:
        lines.append(f"go on with what has not passed: make {failed[0]} RESUME=1, or make test RESUME=1")
    return "\n".join(lines)


def _make(name: str, make: Sequence[str]) -> TierResult:
    counted = CHECKOUT / RESULTS / f"{name}.json"
    failed = counted.with_suffix(".failed")
    for path in (counted, failed):
        path.unlink(missing_ok=True)
    print(f"== {name}", flush=True)
    began = time.monotonic()
    with subprocess.Popen([*make, name], cwd=CHECKOUT) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # it reached the tier as well, which may have a lab to remove
            process.wait()
            raise
    failures = tuple(failed.read_text().splitlines()) if failed.exists() else ()
    return TierResult(name, FAILED if status else PASSED, time.monotonic() - began, _counts(counted), failures)


def _counts(path: Path) -> str:
    try:
        counts: dict[str, int] = json.loads(path.read_text())
    except (OSError, ValueError):
        return ""
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _read(path: Path) -> dict[str, float]:
    """The seconds kept; none when there is no such file, or it is damaged."""
    try:
        kept: Any = json.loads(path.read_text())
        return {name: float(kept[name]) for name in TIERS if name in kept}
    except (OSError, ValueError, TypeError):
        return {}


def _write(path: Path, known: Mapping[str, float]) -> None:
    with suppress(OSError):  # a forecast is not worth a failure
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known) + "\n")


def cache() -> Path:
    """Where the seconds are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "traffic-footprint" / "tiers.json"


def main(names: Sequence[str]) -> int:
    """Exit status: 0 when every tier passed, 1 when one did not, 2 for a tier there is not."""
    unknown = [name for name in names if name not in TIERS]
    if unknown or not names:
        print(
            f"error: no tier is called {', '.join(unknown) or '(none)'}; there are {', '.join(TIERS)}",
            file=sys.stderr,
        )
        return 2
    results = run(names, cache(), make=[os.environ.get("MAKE", "make"), "--no-print-directory"],
                  is_root=os.geteuid() == 0)  # fmt: skip
    return 0 if all(result.state == PASSED for result in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
