# SPDX-License-Identifier: Apache-2.0
"""A lab's image registry, from which its nodes pull as from any other: Debian's docker-registry, filled by skopeo.

Enters: OCI layouts. Leaves: images by name and digest at ``files.REGISTRY``. Call from the control plane's network
namespace, where it listens.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.network import addresses
from lab.nodes.real import files
from lab.nodes.real.images import Image
from lab.processes import Process, start

_ADDRESS: Final = f"{addresses.CONTROL_PLANE_V4}:5000"
_READY_SECONDS: Final = 30.0
_PUSH_SECONDS: Final = 300.0
_REMEDY: Final = "run `lab/setup/packages.sh nodes` as root"


def serve(run: Path, data: Path, log: Path) -> Process:
    """Start a registry that keeps images below ``data``, and wait until it answers. Raises LabError."""
    config = run / "registry.json"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "warn", "accesslog": {"disabled": False}},
                "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
                "http": {"addr": _ADDRESS},
            }
        )
    )
    process = start(["docker-registry", "serve", config], log=log, name="registry")
    process.wait_ready(_answers, _READY_SECONDS)
    return process


def push(image: Image) -> str:
    """Push an image under its own name; returns the digest by which it can be pulled. Raises LabError."""
    argv = [
        "skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false",
        f"oci:{image.layout}:image", f"docker://{_ADDRESS}/{repository(image.name)}",
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PUSH_SECONDS, check=False)
    except OSError as error:
        raise LabError(f"cannot start skopeo ({error.strerror}); {_REMEDY}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"{image.name} was not pushed within {_PUSH_SECONDS:g} s; see the registry's log"
        ) from error
    if done.returncode:
        raise LabError(f"{image.name} was not pushed: {done.stderr.strip()}; see the registry's log")
    index = json.loads((image.layout / "index.json").read_text())
    return str(index["manifests"][0]["digest"])


def repository(name: str) -> str:
    """An image's path and tag, without the registry's host: ``kube-scheduler:v1.37.2``."""
    return name.partition("/")[2]


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"{files.REGISTRY}/v2/", timeout=5) as response:  # noqa: S310 - the lab's own
            return bool(response.status == 200)
    except OSError:
        return False
