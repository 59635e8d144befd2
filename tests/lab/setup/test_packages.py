# SPDX-License-Identifier: Apache-2.0
"""``packages.sh`` where apt succeeds and where it does not: what a person sees. Every program is a stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "lab" / "setup" / "packages.sh"
TOOLS = ("sh", "grep", "mktemp", "tail", "rm")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Root's, with nothing installed; returns the folder of its programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (programs / tool).symlink_to(found)
    program(programs, "id", "echo 0")
    program(programs, "dpkg-query", "exit 1")
    return programs


def program(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!{shutil.which('sh')}\n{script}\n")
    (programs / name).chmod(0o755)


def run(machine: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), "images"], capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": str(machine), "TMPDIR": str(machine.parent)},
    )  # fmt: skip


def logs(machine: Path) -> list[Path]:
    return list(machine.parent.glob("traffic-footprint-apt.*"))


def test_what_is_missing_is_installed_and_nothing_is_left(machine: Path) -> None:
    program(machine, "apt-get", 'echo "$@" >>"$TMPDIR/asked"; echo noise')
    done = run(machine)
    assert (done.returncode, done.stdout) == (0, "== installing buildah mmdebstrap zstd\n")
    asked = (machine.parent / "asked").read_text().splitlines()
    assert asked == ["update -qq", "install -y -qq --no-install-recommends buildah mmdebstrap zstd"]
    assert logs(machine) == []


@pytest.mark.parametrize("failing", ["update", "install"])
def test_when_apt_fails_its_last_words_are_shown_all_of_them_kept_and_a_remedy_named(
    machine: Path, failing: str
) -> None:
    program(machine, "apt-get", f'[ "$1" != {failing} ] || {{ echo first; echo "E: no mirror" >&2; exit 100; }}')
    done = run(machine)
    assert done.returncode == 1
    assert "E: no mirror" in done.stderr
    [log] = logs(machine)
    assert log.read_text() == "first\nE: no mirror\n"
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: apt-get could not install buildah mmdebstrap zstd")
    assert str(log) in last
    assert "run this again" in last


def test_nothing_happens_where_all_is_there(machine: Path) -> None:
    program(machine, "dpkg-query", "echo installed")
    done = run(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_script_can_be_started_by_name() -> None:
    assert os.access(SCRIPT, os.X_OK)
