# SPDX-License-Identifier: Apache-2.0
"""Compile the program in a child process.

Enters: how the program is to attach, and which functions it cannot use. Leaves: a ``Build``, whose instructions
refer to maps by number. Effects: one child process, isolated from the caller's folder and environment, which has
ended afterwards. Raises EbpfUnavailable for every failure.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from nodeagent.sources.ebpf.btf.kernel import DIRECTORY
from nodeagent.sources.ebpf.compiling.hooks import Hook, Mode, Plan, Role
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable

TIMEOUT: Final = 120.0
"""Seconds, unless a request says otherwise; a compilation takes about two, and minutes only on an emulated
machine."""

PROGRAM: Final = "footprint.bpf.c"
_SOURCES_VARIABLE: Final = "TRAFFIC_FOOTPRINT_BPF_SOURCES"
_PACKAGES: Final = Path(__file__).resolve().parents[4]
"""Where this process has its own code from; the child gets no other."""
_CHILD: Final = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from nodeagent.sources.ebpf.compiling.child import main; sys.exit(main())"
)
"""Isolated (-I): neither the current directory nor PYTHONPATH nor the user's own packages are on the path."""
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_LITERAL: Final = re.compile(r'"(?:\\.|[^"\\\n])*"' r"|'(?:\\.|[^'\\\n])*'")
_NOT_CODE: Final = re.compile(rf"{_LITERAL.pattern}|/\*.*?\*/|//[^\n]*", re.DOTALL)
"""Comments, and the literals that could be mistaken for some."""
_SPACES: Final = re.compile(r"\s+")


def sources() -> Path:
    """The directory of the C sources: TRAFFIC_FOOTPRINT_BPF_SOURCES, else beside the packages, else installed."""
    named = os.environ.get(_SOURCES_VARIABLE)
    beside = Path(__file__).resolve().parents[4] / "bpf"
    return Path(named) if named else beside if beside.is_dir() else Path(sys.prefix, "share/traffic-footprint/bpf")


@dataclass(frozen=True, slots=True)
class Build:
    """A compiled program."""

    plan: Plan
    code: Mapping[str, bytes]
    """Instructions by role, or by the key asked for."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built, from where."""

    mode: Mode
    without: Collection[str] = ()
    """Functions that cannot be attached to here."""
    defines: Mapping[str, str] = field(default_factory=dict)
    sources: Path = field(default_factory=sources)
    file: str = PROGRAM
    functions: Mapping[str, str] = field(default_factory=dict)
    """Key → function to take from the file; none: each hook's."""
    btf: Path = DIRECTORY
    python: str = sys.executable
    timeout: float | None = None
    """Seconds; None: ``TIMEOUT``."""


def fingerprint(directory: Path, file: str = PROGRAM) -> int:
    """32 bits that change with the code of the program and its headers: another program must not take over these
    maps. Comments, blank lines and spacing do not count."""
    digest = hashlib.sha256()
    for path in (directory / file, *sorted(directory.rglob("*.h"))):
        name = path.relative_to(directory).as_posix()
        digest.update(f"{name}\0{code_of(path.read_text())}\0".encode())
    return int.from_bytes(digest.digest()[:4], "little")


def code_of(source: str) -> str:
    """C without comments; each line's spaces one, its ends trimmed, empty lines left out. Literals stay."""
    bare = _NOT_CODE.sub(lambda found: found[0] if found[0][0] in "\"'" else " ", source)
    lines = ("".join(_spaced(line)) for line in bare.replace("\\\n", " ").splitlines())
    return "\n".join(line for line in lines if line)


def _spaced(line: str) -> Iterator[str]:
    """The line's literals as they are, and between them single spaces."""
    at = 0
    for literal in _LITERAL.finditer(line := line.strip()):
        yield _SPACES.sub(" ", line[at : literal.start()])
        yield literal[0]
        at = literal.end()
    yield _SPACES.sub(" ", line[at:])


def build(request: BuildRequest) -> Build:
    """Compile in a child process. Raises EbpfUnavailable."""
    asked = {
        "mode": request.mode.value, "without": sorted(request.without), "defines": dict(request.defines),
        "sources": str(request.sources), "btf": str(request.btf),
        "file": request.file, "functions": dict(request.functions),
    }  # fmt: skip
    command = [request.python, "-I", "-B", "-c", _CHILD, str(_PACKAGES)]
    limit = TIMEOUT if request.timeout is None else request.timeout
    try:
        done = subprocess.run(
            command, input=orjson.dumps(asked), capture_output=True, timeout=limit, check=False, cwd="/",
            env=_ENVIRONMENT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        fact = f"compiling took longer than {limit:g} seconds"
        raise EbpfUnavailable(EbpfProblem(Cause.COMPILE_TIMED_OUT, fact)) from error
    except OSError as error:
        raise EbpfUnavailable(EbpfProblem(Cause.COMPILE_FAILED, f"the compiling process: {error}")) from error
    if done.returncode == -signal.SIGKILL:
        fact = "the compiling process was killed, as the kernel does where memory runs out"
        raise EbpfUnavailable(EbpfProblem(Cause.COMPILER_KILLED, fact))
    said = done.stderr.decode("utf-8", "replace")
    try:
        answer = orjson.loads(done.stdout)
    except orjson.JSONDecodeError as error:
        fact = f"the compiling process ended with status {done.returncode}: {_first_error(said)}"
        raise EbpfUnavailable(EbpfProblem(Cause.COMPILE_FAILED, fact, said)) from error
    if "problem" in answer:
        raise EbpfUnavailable(_problem(answer["problem"], said))
    code = {key: base64.b64decode(text) for key, text in answer["programs"].items()}
    return Build(_plan(answer["plan"]), code)


def _problem(found: dict[str, Any], said: str) -> EbpfProblem:
    kind, fact = Cause(found["kind"]), str(found["fact"])
    if kind in (Cause.COMPILE_FAILED, Cause.BCC_TOO_OLD) and said:
        fact = f"{fact}: {_first_error(said)}"
    return EbpfProblem(kind, fact, found["detail"] or said)


def _plan(found: dict[str, Any]) -> Plan:
    hooks = tuple(Hook(Role(h["role"]), h["function"], h["btf_id"]) for h in found["hooks"])
    return Plan(Mode(found["mode"]), found["module"], hooks, found["defines"])


def _first_error(said: str) -> str:
    """The line a compiler means, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if "error:" in line]
    return (named or lines[-1:] or ["no message"])[0][:300]
