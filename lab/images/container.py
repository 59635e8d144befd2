# SPDX-License-Identifier: Apache-2.0
"""The command line that runs a command in an image's file system, as a container runtime would. Pure.

Enters: the file system, the image's OCI configuration, what a pod's specification would add. Leaves: an argument
vector for root. Guarantees for what it starts: a read-only root file system, the image's user and environment,
nothing of the caller's environment, no new privileges, and only the named capabilities. It shares the caller's
network and processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCRIPT: Final = Path(__file__).with_name("container.sh")


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host that the container sees."""

    source: Path
    target: str
    """Absolute, in the container."""
    writable: bool = False


def command(
    rootfs: Path,
    config: Mapping[str, Any],
    *,
    arguments: Sequence[str] | None = None,
    entrypoint: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    binds: Sequence[Bind] = (),
    capabilities: Sequence[str] = (),
) -> list[str]:
    """The command line.

    ``arguments`` and ``entrypoint`` replace the image's own, as a pod's ``args`` and ``command`` do;
    ``capabilities`` are in lower case without ``cap_``.
    """
    program = [*(config.get("Entrypoint") or () if entrypoint is None else entrypoint)]
    program += (config.get("Cmd") or () if entrypoint is None else ()) if arguments is None else arguments
    variables = [*(config.get("Env") or ()), *(f"{key}={value}" for key, value in (environment or {}).items())]
    mounts = [
        word for bind in binds for word in ("BIND", str(bind.source), bind.target, "rw" if bind.writable else "ro")
    ]
    return [
        "unshare", "--mount", "--propagation", "private", "--",
        "sh", str(SCRIPT), str(rootfs), *mounts, "RUN",
        *privileges(str(config.get("User") or "0:0"), capabilities),
        "env", "-i", *variables, *program,
    ]  # fmt: skip


def privileges(user: str, capabilities: Sequence[str]) -> list[str]:
    """``setpriv`` of the image, for a user given as ``uid:gid``."""
    uid, _, gid = user.partition(":")
    only = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        # After a change of user, the process would outlive its parent: --pdeathsig asks for its end again.
        "setpriv", "--reuid", uid, "--regid", gid or uid, "--clear-groups", "--no-new-privs",
        "--pdeathsig", "KILL", f"--bounding-set={only}", f"--inh-caps={only}", "--",
    ]  # fmt: skip
