# SPDX-License-Identifier: Apache-2.0
"""One build's own storage. It shares nothing with this machine's images, and goes when the build ends.

Enters: a base archive, a Dockerfile and its context. Leaves: an image, its configuration and its file system.
Guarantees: commands of the build run in a mount namespace of their own, so that no mount survives them. Packages
and wheels that the build downloads stay in ``downloads``, for the next build.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError
from lab.images.base import AREA, NAME, REMEDY
from lab.kernelvm.progress import run

_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_IN_BUILD: Final = "/run/secrets/ca"


@dataclass(frozen=True)
class Storage:
    """Made by ``storage``."""

    folder: Path
    downloads: Path

    def command(self, *arguments: str) -> list[str]:
        """buildah's command line on this storage. Its driver copies files, which works on every file system."""
        place = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["unshare", "--mount", "--propagation", "private", "--",
                "buildah", *place, "--storage-driver", "vfs", *arguments]  # fmt: skip

    def import_base(self, tar: Path) -> str:
        """Make ``tar`` the image called NAME; returns its digest."""
        working = self.ask("from", "scratch")
        self._run("unpacking the base", "add", "--quiet", working, str(tar), "/")
        self.ask("config", "--cmd", "bash", working)
        self._run("committing the base", "commit", "--quiet", "--rm", "--timestamp", "0", working, NAME)
        return self.ask("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", NAME)

    def bud(self, dockerfile: Path, target: str, context: Path, image: str, arguments: Mapping[str, str]) -> None:
        """Build the stage ``target`` as ``image``. Each stage on the way from the base becomes one layer."""
        pip = self.folder / "pip.conf"
        pip.write_text(pip_conf())
        self._run(
            f"building {image}",
            "bud", "--isolation", "chroot", "--network", "host", "--format", "oci",
            "--layers=false", "--pull-never",
            *(word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")),
            "--secret", f"id=pip,src={pip}",
            *(("--secret", f"id=ca,src={_CERTIFICATES}") if _CERTIFICATES.is_file() else ()),
            "--file", str(dockerfile), "--target", target, "--tag", image, str(context),
        )  # fmt: skip

    def configuration(self, image: str) -> dict[str, Any]:
        """The image's OCI configuration."""
        found: dict[str, Any] = json.loads(self.ask("inspect", "--type", "image", image))["OCIv1"]
        return found

    def unpack(self, image: str, into: Path) -> None:
        """Put the image's file system at ``into``, which is not there yet."""
        working = self.ask("from", "--pull-never", image)
        # With this driver it is a folder and no mount. Nobody needs it after the build: it may be moved.
        Path(self.ask("mount", working)).rename(into)

    def push(self, image: str, into: Path) -> None:
        """Write the image to ``into`` as a folder, layers uncompressed (in OCI's layout they never are)."""
        self._run("writing layers", "push", "--quiet", "--disable-compression", image, f"dir:{into}")

    def export(self, image: str, into: Path) -> None:
        """Write the image to ``into`` as an OCI layout, ready for a registry. zstd unpacks fastest."""
        self._run(
            "compressing layers",
            "push", "--quiet", "--format", "oci", "--compression-format", "zstd", image, f"oci:{into}:image",
        )  # fmt: skip

    def ask(self, *arguments: str) -> str:
        """What a quick command prints. Raises LabError."""
        return self._checked(self.command(*arguments))

    def _checked(self, argv: list[str]) -> str:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, env=self._environment())
        except OSError as error:
            raise LabError(f"cannot start {argv[0]} ({error.strerror}); {REMEDY}") from error
        if done.returncode:
            raise LabError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}; {REMEDY}")
        return done.stdout.strip()

    def _run(self, what: str, *arguments: str) -> None:
        run(self.command(*arguments), what, remedy=REMEDY, area=AREA, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.downloads)}  # where cache mounts are kept


@contextmanager
def storage(folder: Path, downloads: Path) -> Iterator[Storage]:
    """Storage in ``folder``, which is gone afterwards; ``downloads`` stays. Raises LabError without buildah."""
    if shutil.which("buildah") is None:
        raise LabError(f"buildah is not installed; {REMEDY}")
    folder.mkdir(mode=0o700)
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        yield Storage(folder, downloads)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pip_conf(environment: Mapping[str, str] | None = None) -> str:
    """pip's configuration inside a build: this machine's index, and certificates that it trusts."""
    index = (os.environ if environment is None else environment).get("PIP_INDEX_URL", "")
    lines = ["[global]"]
    if _CERTIFICATES.is_file():
        lines.append(f"cert = {_IN_BUILD}")
    if index:
        lines.append(f"index-url = {index}")
    return "\n".join(lines) + "\n"
