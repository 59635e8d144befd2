# SPDX-License-Identifier: Apache-2.0
"""The real krew installs the archive by its manifest, and what it installed runs."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab import krew
from lab.controlplane import build
from lab.tools import pins

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
HERE = krew.Platform("linux", "amd64", "x86_64-manylinux_2_28")


@pytest.mark.timeout(900)  # krew is built once
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the archive that is tried is for amd64")
def test_krew_installs_the_plugin_and_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krew, "PYTHONS", (VERSION,))  # a third of the packages
    program = build.ensure((pins.KREW_MODULE,))[pins.KREW].path
    manifest = krew.make(tmp_path / "archives", "v1.2.3", "https://nowhere.invalid/files", [HERE])
    root, path = tmp_path / "krew", tmp_path / "path"
    path.mkdir()
    (path / f"python{VERSION}").symlink_to(Path(sys.executable).resolve())
    environment = {
        "HOME": str(tmp_path), "KREW_ROOT": str(root), "KREW_NO_UPGRADE_CHECK": "1",
        "PATH": f"{root / 'bin'}:{path}:{os.environ['PATH']}",
    }  # fmt: skip

    def run(*argv: str | Path) -> str:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    archive = manifest.parent / krew.file_name(HERE)
    told = run(program, "install", f"--manifest={manifest}", f"--archive={archive}")
    assert "Installed plugin: footprint" in told
    assert "kubectl_complete-footprint" in told, "the caveat is shown"
    installed = shutil.which("kubectl-footprint", path=str(root / "bin"))
    assert installed is not None
    for command in ("nodes", "workloads", "doctor"):
        assert command in run(installed, "--help")
    assert "--severity" in run(installed, "doctor", "--help")
    assert "kubectl_complete-footprint" in run(installed, "completion")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the archive that is tried is for amd64")
def test_krew_refuses_an_archive_that_was_changed(tmp_path: Path) -> None:
    program = build.ensure((pins.KREW_MODULE,))[pins.KREW].path
    files = {"kubectl-footprint": b"#!/bin/sh\n", "LICENSE": b"text"}
    good, bad = krew.archive(files), krew.archive({**files, "more": b""})
    manifest, archive = tmp_path / "footprint.yaml", tmp_path / "changed.tar.gz"
    checksums = {HERE: hashlib.sha256(good).hexdigest()}
    manifest.write_text(yaml.safe_dump(krew.manifest("v1.2.3", "https://nowhere.invalid/files", checksums)))
    archive.write_bytes(bad)
    environment = {"HOME": str(tmp_path), "KREW_ROOT": str(tmp_path / "krew"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [program, "install", f"--manifest={manifest}", f"--archive={archive}"],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "checksum does not match" in done.stderr
