# SPDX-License-Identifier: Apache-2.0
"""Archives for krew: the same bytes for the same files, a launcher that finds a Python, a manifest."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

from lab.krew import CHECKOUT, LAUNCHER, PLATFORMS, RUN, archive, file_name, manifest, ours, shared

FILES = {"kubectl-footprint": LAUNCHER.encode(), "run.py": RUN.encode(), "common/a/b.py": b"x = 1\n"}
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_the_same_files_are_the_same_archive() -> None:
    assert archive(FILES) == archive(dict(reversed(FILES.items())))
    with tarfile.open(fileobj=io.BytesIO(archive(FILES))) as tar:
        assert {entry.name: (entry.mode, entry.mtime, entry.uid) for entry in tar} == {
            name: (0o755 if name == "kubectl-footprint" else 0o644, 0, 0) for name in FILES
        }


def test_what_differs_between_pythons_is_kept_apart_and_whole() -> None:
    trees = {
        "3.11": {"pure/a.py": b"1", "core/b.py": b"2", "core/c.so": b"3"},
        "3.12": {"pure/a.py": b"1", "core/b.py": b"2", "core/c.so": b"4", "only.py": b"5"},
    }
    assert shared(trees) == {
        "common/pure/a.py": b"1", "python3.11/core/b.py": b"2", "python3.11/core/c.so": b"3",
        "python3.12/core/b.py": b"2", "python3.12/core/c.so": b"4", "python3.12/only.py": b"5",
    }  # fmt: skip


def test_the_plugins_modules_and_the_files_that_they_read_are_in_it() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "plugin", "footprint", "extender"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert tracked
    assert {f"common/{path}" for path in tracked} <= ours().keys()


def test_the_manifest_is_of_krews_form() -> None:
    checksums = {platform: hashlib.sha256(platform.name.encode()).hexdigest() for platform in PLATFORMS}
    told = yaml.safe_load(yaml.safe_dump(manifest("v1.2.3", "https://host/path/", checksums)))
    assert (told["kind"], told["metadata"]["name"], told["spec"]["version"]) == ("Plugin", "footprint", "v1.2.3")
    assert len(told["spec"]["shortDescription"]) <= 50, "krew's index takes no longer one"
    for platform, entry in zip(PLATFORMS, told["spec"]["platforms"], strict=True):
        assert entry == {
            "selector": {"matchLabels": {"os": platform.os, "arch": platform.arch}},
            "uri": f"https://host/path/{file_name(platform)}", "sha256": checksums[platform],
            "bin": "kubectl-footprint",
        }  # fmt: skip


def laid(folder: Path, version: str) -> Path:
    """An archive whose plugin says by what it runs, behind krew's symbolic link."""
    store, links = folder / "store", folder / "bin"
    (store / "common" / "plugin").mkdir(parents=True)
    (store / f"python{version}").mkdir()
    (store / "run.py").write_text(RUN)
    (store / "common" / "plugin" / "__init__.py").touch()
    (store / "common" / "plugin" / "cli.py").write_text(
        "import sys\n"
        "def main():\n"
        "    print(sys.version_info[:2], sys.argv[1:], sys.flags.isolated)\n"
        "    return 3\n"
    )
    (store / "kubectl-footprint").write_text(LAUNCHER)
    (store / "kubectl-footprint").chmod(0o755)
    links.mkdir()
    (links / "kubectl-footprint").symlink_to("../store/kubectl-footprint")
    return links / "kubectl-footprint"


def run(program: Path, *pythons: str) -> subprocess.CompletedProcess[str]:
    """``program`` where only these names are a Python: this one."""
    path = program.parents[1] / "path"
    path.mkdir(exist_ok=True)
    for name in ("dirname", "readlink", "sh"):
        (path / name).symlink_to(next(p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists()))
    for name in pythons:
        (path / name).symlink_to(Path(sys.executable).resolve())
    return subprocess.run(
        [program, "nodes", "a b"], capture_output=True, text=True, check=False, timeout=60, env={"PATH": str(path)}
    )


def test_the_launcher_finds_its_folder_and_a_python(tmp_path: Path) -> None:
    told = f"({sys.version_info[0]}, {sys.version_info[1]}) ['nodes', 'a b'] 1\n"
    for folder, name in (("one", f"python{VERSION}"), ("two", "python3")):
        done = run(laid(tmp_path / folder, VERSION), name)
        assert (done.returncode, done.stdout, done.stderr) == (3, told, "")


def test_without_a_fitting_python_the_launcher_says_so_in_one_line(tmp_path: Path) -> None:
    for folder, names, found in (("one", (), "none"), ("two", ("python3",), VERSION)):
        done = run(laid(tmp_path / folder, "9.9"), *names)
        assert done.returncode == 2
        assert done.stderr == (
            f"error: kubectl footprint needs Python 3.11, 3.12 or 3.13, and finds {found}; install one of them\n"
        )
