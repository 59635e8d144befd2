# SPDX-License-Identifier: Apache-2.0
"""Compile the program in a child process, or take what an earlier process compiled of the same.

Enters: how the program is to attach, and which functions it cannot use. Leaves: a ``Build``, whose instructions
refer to maps by number. Effects: one child process, isolated from the caller's folder and environment, which has
ended afterwards; and files in the folder of kept programs (``cache``), if the request names one. Raises
EbpfUnavailable for every failure.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from nodeagent.sources.ebpf.btf.kernel import DIRECTORY, VMLINUX
from nodeagent.sources.ebpf.compiling import cache, objects
from nodeagent.sources.ebpf.compiling.hooks import Hook, Mode, Plan, Role
from nodeagent.sources.ebpf.compiling.objects import ObjectRefused, Refusal
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable

TIMEOUT: Final = 120.0
"""Seconds, unless a request says otherwise; a compilation takes about two, and minutes only on an emulated
machine."""

PROGRAM: Final = "footprint.bpf.c"
SOURCES_VARIABLE: Final = "TRAFFIC_FOOTPRINT_BPF_SOURCES"
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
_PLANNERS: Final = (Path(__file__).parent, Path(__file__).parents[1] / "btf")
"""What reads the kernel's types and decides what is compiled."""
_MODULE: Final = "nf_conntrack"
_INSTRUCTION: Final = 8
"""Bytes."""
_WORD: Final = re.compile(r"\w{0,128}", re.ASCII)
"""A kernel's function or module; no module where conntrack is built in."""


def sources() -> Path:
    """The directory of the C sources: TRAFFIC_FOOTPRINT_BPF_SOURCES, else beside the packages, else installed."""
    named = os.environ.get(SOURCES_VARIABLE)
    beside = Path(__file__).resolve().parents[4] / "bpf"
    return Path(named) if named else beside if beside.is_dir() else Path(sys.prefix, "share/traffic-footprint/bpf")


@dataclass(frozen=True, slots=True)
class Build:
    """A compiled program."""

    plan: Plan
    code: Mapping[str, bytes]
    """Instructions by role, or by the key asked for."""
    kept: bool = False
    """Taken from the folder of kept programs, and not compiled now."""


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
    at: Literal["conntrack", "sockets"] = "conntrack"
    """Whose offsets the file is compiled with. At sockets no function is hooked: the plan has no hooks then."""
    btf: Path = DIRECTORY
    python: str = sys.executable
    timeout: float | None = None
    """Seconds; None: ``TIMEOUT``."""
    kept: Path | None = None
    """The folder of kept programs; None: always compile, and keep nothing."""
    fresh: bool = False
    """Compile, and replace what is kept."""

    def asked(self) -> dict[str, Any]:
        """What the compiling process is told, JSON-able."""
        return {
            "mode": self.mode.value, "without": sorted(self.without), "defines": dict(self.defines),
            "sources": str(self.sources), "btf": str(self.btf),
            "file": self.file, "functions": dict(self.functions), "at": self.at,
        }  # fmt: skip


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
    """Take the program that was kept, else compile it in a child process and keep it. Raises EbpfUnavailable."""
    folder, name = request.kept, object_key(request) if request.kept is not None else None
    if folder is not None and name is not None and not request.fresh:
        content = cache.find(folder, name)
        try:
            if content is not None:
                made = replace(_built(orjson.loads(content), request), kept=True)
                cache.counts[cache.FOUND] += 1
                return made
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            cache.refuse(folder, name, ObjectRefused(Refusal.MALFORMED, f"it is no program: {error!r:.200}"))
    answer = _compiled(request)
    made = _built(answer, request)
    cache.counts[cache.COMPILED] += 1
    if folder is not None and name is not None:
        cache.keep(folder, name, orjson.dumps(answer))
    return made


def refused_by_kernel(request: BuildRequest, why: str) -> None:
    """Say and count that the kernel did not take a kept program."""
    if request.kept is not None and (name := object_key(request)) is not None:
        cache.refuse(request.kept, name, ObjectRefused(Refusal.BY_KERNEL, why))


def object_key(request: BuildRequest) -> bytes | None:
    """32 bytes that change with everything that the compiler's answer depends on: the kernel and its types, the C
    sources, what decides about hooks and offsets, and what is asked. None where the kernel publishes no types."""
    kernel, module = request.btf / VMLINUX, request.btf / _MODULE
    asked = {**request.asked(), "sources": "", "btf": ""}
    try:
        return objects.key(
            [
                *(word.encode() for word in (platform.machine(), platform.release(), platform.version())),
                kernel.read_bytes(),
                module.read_bytes() if module.exists() else b"",
                *_texts(request.sources, "**/*.[ch]"),
                *(part for folder in _PLANNERS for part in _texts(folder, "*.py")),
                orjson.dumps(asked, option=orjson.OPT_SORT_KEYS),
            ]
        )
    except OSError:
        return None


def _texts(folder: Path, pattern: str) -> Iterator[bytes]:
    """Each file's place and content. Raises OSError."""
    for path in sorted(folder.glob(pattern)):
        yield path.relative_to(folder).as_posix().encode()
        yield path.read_bytes()


def _compiled(request: BuildRequest) -> dict[str, Any]:
    """The compiling process's answer, which is no problem. Raises EbpfUnavailable."""
    command = [request.python, "-I", "-B", "-c", _CHILD, str(_PACKAGES)]
    limit = TIMEOUT if request.timeout is None else request.timeout
    try:
        done = subprocess.run(
            command, input=orjson.dumps(request.asked()), capture_output=True, timeout=limit, check=False, cwd="/",
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
        answer: dict[str, Any] = orjson.loads(done.stdout)
    except orjson.JSONDecodeError as error:
        fact = f"the compiling process ended with status {done.returncode}: {_first_error(said)}"
        raise EbpfUnavailable(EbpfProblem(Cause.COMPILE_FAILED, fact, said)) from error
    if "problem" in answer:
        raise EbpfUnavailable(_problem(answer["problem"], said))
    return answer


def _built(answer: dict[str, Any], request: BuildRequest) -> Build:
    """Raises AttributeError, KeyError, TypeError or ValueError for an answer that no compiler gave to this
    request."""
    code = {key: base64.b64decode(text, validate=True) for key, text in answer["programs"].items()}
    found = _plan(answer["plan"])
    wanted = set(request.functions) or {hook.role.value for hook in found.hooks}
    if found.mode is not request.mode or set(code) != wanted:
        raise ValueError(f"{found.mode} with {sorted(code)}")
    if not all(text and len(text) % _INSTRUCTION == 0 for text in code.values()):
        raise ValueError("instructions that are cut short")
    return Build(found, code)


def _problem(found: dict[str, Any], said: str) -> EbpfProblem:
    kind, fact = Cause(found["kind"]), str(found["fact"])
    if kind in (Cause.COMPILE_FAILED, Cause.BCC_TOO_OLD) and said:
        fact = f"{fact}: {_first_error(said)}"
    return EbpfProblem(kind, fact, found["detail"] or said)


def _plan(found: dict[str, Any]) -> Plan:
    """Raises KeyError, TypeError or ValueError for what is no plan."""
    hooks = tuple(Hook(Role(h["role"]), _word(h["function"]), _number(h["btf_id"])) for h in found["hooks"])
    return Plan(Mode(found["mode"]), _word(found["module"]), hooks, found["defines"])


def _word(found: object) -> str:
    if not isinstance(found, str) or not _WORD.fullmatch(found):
        raise ValueError(f"{found!r:.60} is no name")
    return found


def _number(found: object) -> int:
    if not isinstance(found, int) or not 0 <= found < 2**31:
        raise ValueError(f"{found!r:.60} is no type's number")
    return found


def _first_error(said: str) -> str:
    """The line a compiler means, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if "error:" in line]
    return (named or lines[-1:] or ["no message"])[0][:300]
