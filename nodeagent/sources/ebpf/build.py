"""Asking the compiling process for a program.

In: how it should attach, and what turned out impossible. Out: a Build, instructions still referring to maps by
number. Effects: one child process, which is gone afterwards. Raises EbpfUnavailable for everything that fails.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from nodeagent.btf.kernel import DIRECTORY
from nodeagent.sources.ebpf.hooks import Hook, Mode, Plan, Role
from nodeagent.sources.ebpf.problems import EbpfUnavailable, Kind, Problem

TIMEOUT: Final = 120.0
"""Seconds; a compilation takes about two, and minutes only on an emulated machine."""

_SOURCES_VARIABLE: Final = "TRAFFIC_FOOTPRINT_BPF_SOURCES"


def sources() -> Path:
    """The directory of the C sources: TRAFFIC_FOOTPRINT_BPF_SOURCES, else beside the packages, else installed."""
    named = os.environ.get(_SOURCES_VARIABLE)
    beside = Path(__file__).resolve().parents[3] / "bpf"
    return Path(named) if named else beside if beside.is_dir() else Path(sys.prefix, "share/traffic-footprint/bpf")


@dataclass(frozen=True, slots=True)
class Build:
    """A compiled program."""

    plan: Plan
    code: Mapping[str, bytes]
    """Instructions by role, or by the key asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be built, from where."""

    mode: Mode
    without: Collection[str] = ()
    """Functions that cannot be attached to here."""
    defines: Mapping[str, str] = field(default_factory=dict)
    sources: Path = field(default_factory=sources)
    file: str = "footprint.bpf.c"
    functions: Mapping[str, str] = field(default_factory=dict)
    """Key → function to take from the file; none: each hook's."""
    btf: Path = DIRECTORY
    python: str = sys.executable


def fingerprint(directory: Path) -> int:
    """32 bits that change with the sources: another program must not take over these maps."""
    digest = hashlib.sha256()
    for path in sorted([*directory.glob("*.h"), *directory.glob("*.c")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return int.from_bytes(digest.digest()[:4], "little")


def build(request: Request) -> Build:
    """Compile in a child process. Raises EbpfUnavailable."""
    asked = {
        "mode": request.mode.value, "without": sorted(request.without), "defines": dict(request.defines),
        "sources": str(request.sources), "btf": str(request.btf),
        "file": request.file, "functions": dict(request.functions),
    }  # fmt: skip
    command = [request.python, "-m", "nodeagent.sources.ebpf.build_child"]
    try:
        done = subprocess.run(
            command, input=orjson.dumps(asked), capture_output=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EbpfUnavailable(Problem(Kind.COMPILE_FAILED, f"the compiling process: {error}")) from error
    if done.returncode == -signal.SIGKILL:
        fact = "the compiling process was killed, as the kernel does where memory runs out"
        raise EbpfUnavailable(Problem(Kind.COMPILER_KILLED, fact))
    said = done.stderr.decode("utf-8", "replace")
    try:
        answer = orjson.loads(done.stdout)
    except orjson.JSONDecodeError as error:
        fact = f"the compiling process ended with status {done.returncode}: {_first_error(said)}"
        raise EbpfUnavailable(Problem(Kind.COMPILE_FAILED, fact, said)) from error
    if "problem" in answer:
        raise EbpfUnavailable(_problem(answer["problem"], said))
    code = {key: base64.b64decode(text) for key, text in answer["programs"].items()}
    return Build(_plan(answer["plan"]), code)


def _problem(found: dict[str, Any], said: str) -> Problem:
    kind, fact = Kind(found["kind"]), str(found["fact"])
    if kind is Kind.COMPILE_FAILED and said:
        fact = f"{fact}: {_first_error(said)}"
    return Problem(kind, fact, found["detail"] or said)


def _plan(found: dict[str, Any]) -> Plan:
    hooks = tuple(Hook(Role(h["role"]), h["function"], h["btf_id"]) for h in found["hooks"])
    return Plan(Mode(found["mode"]), found["module"], hooks, found["defines"])


def _first_error(said: str) -> str:
    """The line a compiler means, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if "error:" in line]
    return (named or lines[-1:] or ["no message"])[0][:300]
