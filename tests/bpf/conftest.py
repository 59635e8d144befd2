# SPDX-License-Identifier: Apache-2.0
"""The C helpers as a shared object, compiled once by the machine's own compiler, with every warning an error."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from nodeagent.sources.ebpf.compiling.build import sources
from nodeagent.sources.ebpf.kernel.layout import MIRRORS

HERE = Path(__file__).parent


def fields() -> str:
    """What the compiler is asked to measure: every field of every mirror."""
    lines = []
    for name, mirror in MIRRORS.items():
        lines.append(f"WHOLE({name})")
        lines += [f"FIELD({name}, {field[0]})" for field in mirror._fields_]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    folder = tmp_path_factory.mktemp("helpers")
    (folder / "fields.inc").write_text(fields())
    built = folder / "helpers.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wtype-limits", "-Wstrict-prototypes", "-Werror"]
    done = subprocess.run(
        [compiler, *flags, "-fPIC", "-shared", f"-I{sources()}", f"-I{folder}", "-o", built, HERE / "helpers.c"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    library = ctypes.CDLL(str(built))
    library.test_key_of.argtypes = [ctypes.c_uint64, ctypes.c_void_p]
    library.test_note_key.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint16, ctypes.c_uint8]
    library.test_key_of.restype = library.test_note_key.restype = ctypes.c_uint64
    library.test_attribute_end.argtypes = [ctypes.c_void_p, *[ctypes.c_uint32] * 3]
    library.test_attribute_end.restype = None
    library.test_has_changed_hands.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.test_called_from_afar.argtypes = [ctypes.c_uint16, ctypes.c_uint16]
    for name in ("test_bit_length", "test_bucket_of"):
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_uint64], ctypes.c_uint64
    library.test_count_traffic.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint64,
    ]  # fmt: skip
    library.test_count_traffic.restype = None
    library.test_count_end.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]
    library.test_count_end.restype = None
    return library
