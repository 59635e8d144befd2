# SPDX-License-Identifier: Apache-2.0
"""The compiling process: decides the hooks from BTF, compiles with bcc, prints instructions, and ends.

Enters: one JSON request on standard input. Leaves: one JSON response on standard output. It is a process of its
own because bcc brings LLVM, which would stay resident. It needs no privileges, for maps are referred to by number.
The only module that imports bcc.
"""

from __future__ import annotations

import base64
import os
import platform
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from nodeagent.sources.ebpf.btf import BtfError
from nodeagent.sources.ebpf.btf.kernel import load_kernel, load_module
from nodeagent.sources.ebpf.compiling import sockets
from nodeagent.sources.ebpf.compiling.hooks import Mode, Plan, plan
from nodeagent.sources.ebpf.problems import Cause, EbpfProblem, EbpfUnavailable

_OLDEST_BCC: Final = (0, 26)
"""The oldest version that the program has been compiled with."""
_CONNTRACK: Final = "nf_conntrack"
_LOADABLE: Final = Path("/sys/module", _CONNTRACK, "initstate")
"""Exists while conntrack is a loaded module; not when it is built into the kernel."""


def main() -> int:
    """Exit status 0 with an answer, be it instructions or a problem."""
    request = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = _build(request)
    except EbpfUnavailable as unavailable:
        answer = {"problem": asdict(unavailable.problem)}
    sys.stdout.buffer.write(orjson.dumps(answer))
    return 0


def _build(request: dict[str, Any]) -> dict[str, Any]:
    try:
        chosen = _plan(request, Path(request["btf"]))
    except BtfError as error:
        raise EbpfUnavailable(EbpfProblem(Cause.NO_BTF, str(error))) from error
    functions = request["functions"] or {hook.role.value: f"footprint_{hook.role}" for hook in chosen.hooks}
    source = Path(request["sources"]) / request["file"]
    return {"plan": asdict(chosen), "programs": _compile(source, functions, chosen, request["defines"])}


def _plan(request: dict[str, Any], directory: Path) -> Plan:
    """Raises BtfError when the kernel's types cannot be read, EbpfUnavailable when they lack something."""
    kernel, mode = load_kernel(directory), Mode(request["mode"])
    if request["at"] == "sockets":
        return sockets.plan(kernel, mode=mode)
    module = load_module(_CONNTRACK, kernel, directory)
    if module is None and _LOADABLE.exists():
        raise EbpfUnavailable(EbpfProblem(Cause.NO_BTF, f"the module {_CONNTRACK} has no type information"))
    return plan(kernel, module, mode=mode, machine=platform.machine(), without=request["without"])


def _compile(source: Path, functions: dict[str, str], chosen: Plan, extra: dict[str, str]) -> dict[str, str]:
    """Instructions of each function, as base64 under its key."""
    sources = source.parent
    os.environ["BCC_KERNEL_SOURCE"] = str(sources / "shim")
    try:
        import bcc  # noqa: PLC0415 - after the environment it reads, and only where it is needed
    except ImportError as error:
        raise EbpfUnavailable(EbpfProblem(Cause.BCC_MISSING, f"bcc cannot be imported ({error})")) from error
    defines = {**chosen.defines, **extra}
    flags = [f"-I{sources}", *(f"-D{name}={value}" for name, value in sorted(defines.items()))]
    try:
        compiled = bcc.BPF(src_file=str(source), cflags=flags)
        code = {key: compiled.dump_func(name.encode()) for key, name in functions.items()}
    except Exception as error:  # bcc raises bare Exception
        raise EbpfUnavailable(failure(bcc, error)) from error
    return {key: base64.b64encode(instructions).decode() for key, instructions in code.items()}


def failure(bcc: Any, error: Exception) -> EbpfProblem:
    """Why the module ``bcc`` did not compile. It is too old when its version is below the oldest that is known to
    work, or when it lacks a function that is called. An older version that compiles is used."""
    version = str(getattr(bcc, "__version__", "unknown"))
    binding = getattr(bcc, "BPF", None)
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST_BCC
    if binding is not None and (old or not hasattr(binding, "dump_func")):
        return EbpfProblem(Cause.BCC_TOO_OLD, f"bcc {version} is too old: {error}")
    return EbpfProblem(Cause.COMPILE_FAILED, f"bcc {version}: {error}")
