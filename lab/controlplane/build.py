# SPDX-License-Identifier: Apache-2.0
"""Build the pinned control plane into a cache outside the checkout, once; ``python -m lab.controlplane.build``.

Enters: the Go modules under ``lab/controlplane/``. Leaves: programs under ``lab.controlplane.pins.Module.cache``.
Guarantees: a program appears in the cache whole or not at all; two builds never race; a line of progress at least
every 15 s.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.controlplane.assets import Found, locate
from lab.controlplane.pins import MODULES, TOOLS, Module
from lab.errors import LabError

PROGRESS_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.2
_LOG_TAIL: Final = 15
_USUAL_GO: Final = "/usr/local/go/bin/go"  # where Go's own tarball puts it; often not on root's PATH


def say(line: str) -> None:
    """A line of progress for the person who waits."""
    print(f"[lab] {line}", file=sys.stderr, flush=True)


def ensure(modules: Sequence[Module] = MODULES) -> dict[str, Found]:
    """All programs of ``modules`` (by default what a lab runs) by name, built first when they are missing.

    Raises LabError when that is not possible."""
    programs: dict[str, Found] = {}
    for module in modules:
        found, refused = locate(module)
        missing = [program for program, _ in module.packages if program not in found]
        if missing:
            for other in refused:
                say(f"{other.path} is not used: it {other.reason}")
            build(module, missing)
            found |= {name: Found(module.cache / name, module.version, "built") for name in missing}
        programs |= found
    return programs


def build(module: Module, programs: Sequence[str]) -> None:
    """Build those of ``programs`` that the cache of ``module`` lacks. Raises LabError naming the remedy."""
    module.cache.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(module):
        missing = [name for name in programs if not (module.cache / name).is_file()]
        if missing:
            _build(module, missing, _go(module))


def _build(module: Module, programs: Sequence[str], go: str) -> None:
    packages = [package for name, package in module.packages if name in programs]
    # Beside the final place: a rename within one file system is atomic.
    with tempfile.TemporaryDirectory(dir=module.cache.parent, prefix=f".{module.name}-") as scratch:
        # A folder takes each program by its package's last element, which for etcd is not the program's name.
        output = f"{scratch}/{programs[0]}" if len(programs) == 1 else f"{scratch}/"
        tags = ["-tags", module.tags] if module.tags else []
        argv = [go, "build", "-v", "-trimpath", *tags, "-ldflags", ldflags(module), "-o", output, *packages]
        _run(argv, module, f"{', '.join(programs)} {module.version}")
        for name in programs:
            Path(scratch, name).replace(module.cache / name)


def ldflags(module: Module) -> str:
    """Linker flags: no debug symbols, the stamps of ``module``, and C libraries linked statically."""
    version = module.version
    values = {"version": version, "major": version.major, "minor": version.minor}
    flags = ["-s -w", *(f"-X {stamp.format(**values)}" for stamp in module.stamps)]
    return " ".join([*flags, *(["-extldflags -static"] if module.tags else [])])


def _run(argv: Sequence[str], module: Module, what: str) -> None:
    say(f"building {what} with {argv[0]}: {module.expected}")
    start, next_line = time.monotonic(), PROGRESS_SECONDS
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            argv, cwd=module.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "CGO_ENABLED": "1" if module.tags else "0"},
        ) as process:  # fmt: skip
            try:
                while process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    elapsed = time.monotonic() - start
                    if elapsed >= next_line:
                        next_line += PROGRESS_SECONDS
                        say(
                            f"building {what}: {elapsed:.0f} s, {_packages_so_far(log.fileno())} packages compiled"
                        )
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            log.seek(0)
            last = "".join(f"  {line}" for line in log.readlines()[-_LOG_TAIL:])
            raise LabError(
                f"building {what} failed (go build ended with {process.returncode}); the Go module proxy must be"
                f" reachable and some 5 GB of disk free; last lines:\n{last}"
            )
    say(f"built {what} in {time.monotonic() - start:.0f} s, kept in {module.cache}")


def _packages_so_far(log: int) -> int:
    """go build -v writes a line per package; read beside the writer, whose offset is the same descriptor's."""
    return os.pread(log, os.fstat(log).st_size, 0).count(b"\n")


def _go(module: Module) -> str:
    """The Go command, checked to be able to build ``module``."""
    needed = ".".join(map(str, module.go_version))
    remedy = (
        f"install Go {needed} or newer (https://go.dev/dl), or point KUBEBUILDER_ASSETS at programs of"
        f" {module.requires} {module.version}"
    )
    go = shutil.which("go") or shutil.which(_USUAL_GO)
    if go is None:
        raise LabError(f"Go is not installed, and {module.name} must be built; {remedy}")
    # In the module's folder: a Go that may fetch a newer toolchain does so here, and reports that one's version.
    done = subprocess.run([go, "version"], cwd=module.folder, capture_output=True, text=True, check=False)
    match = re.search(r"go(\d+)\.(\d+)", done.stdout)
    if done.returncode or match is None:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise LabError(f"{go} cannot build {module.name}: it says {said[0]!r}; {remedy}")
    if (int(match[1]), int(match[2])) < module.go_version:
        raise LabError(f"{go} is Go {match[1]}.{match[2]}, too old to build {module.name}; {remedy}")
    return go


@contextmanager
def _one_at_a_time(module: Module) -> Iterator[None]:
    lock = module.cache.parent / f"{module.name}.lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {module.name} ({module.expected})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Make sure that all programs are there; print where."""
    argparse.ArgumentParser(
        prog="python -m lab.controlplane.build",
        description="Find the lab's programs and Helm (KUBEBUILDER_ASSETS, PATH), or build them once.",
    ).parse_args(argv)
    try:
        for name, found in ensure((*MODULES, *TOOLS)).items():
            print(f"{name} {found.version} ({found.origin}): {found.path}")
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
