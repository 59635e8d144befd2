# SPDX-License-Identifier: Apache-2.0
"""What goes into the guest and what comes out: two tar archives on raw disks.

In: the checkout's files (as the working tree has them, ignored ones left out), the guest's init, the command.
Out: the command's status and the files it left in /out. No file of the guest can leave the folder it is put in.
"""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.errors import LabError

HERE: Final = Path(__file__).parent
CHECKOUT: Final = HERE.parent.parent
_IGNORED: Final = {".git", ".venv", "__pycache__", "build", "demo-report"}


def write_input(
    disk: Path, checkout: Path, *, command: Sequence[str] | None, environment: Mapping[str, str] | None = None
) -> None:
    """Write the archive that the guest unpacks at its root; ``command`` None asks for a shell."""
    with tarfile.open(disk, "w") as tar:
        for name in checkout_files(checkout):
            tar.add(checkout / name, f"work/{name}", recursive=False)
        tar.add(HERE / "guest" / "init.sh", "kernelvm/init")
        if command is None:
            _add(tar, "kernelvm/shell", "")
        else:
            _add(tar, "kernelvm/command", script(command, environment or {}))


def script(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The shell script that runs ``command`` with ``environment`` added, both quoted."""
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
    return f"{exports}exec {shlex.join(command)}\n"


def checkout_files(checkout: Path) -> list[str]:
    """Relative paths of the files of ``checkout`` that belong to it: git's answer, else all but the usual."""
    listed = subprocess.run(
        ["git", "-C", str(checkout), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return [name for name in names if name and (checkout / name).is_file()]
    files = (path.relative_to(checkout) for path in checkout.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if not _IGNORED.intersection(path.parts))


def read_output(disk: Path, into: Path | None) -> int:
    """Put the files of /out into ``into`` (None: nowhere) and return the command's status.

    Raises LabError when the guest sent nothing.
    """
    try:
        with tarfile.open(disk, "r:") as tar:  # no compression to look for: that reads an empty disk to its end
            status = tar.extractfile("status")
            if status is None:
                raise KeyError("status")
            code = int(status.read())
            if into is not None:
                _extract(tar, into)
            return code
    except (tarfile.TarError, KeyError, ValueError, OSError) as error:
        raise LabError("the guest ended without sending a status") from error


def _extract(tar: tarfile.TarFile, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for member in tar.getmembers():
        path = Path(member.name)
        if path.parts[0] != "out" or ".." in path.parts or not member.isfile():
            continue
        content = tar.extractfile(member)
        target = into.joinpath(*path.parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.read() if content else b"")


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755
    tar.addfile(member, io.BytesIO(content))
