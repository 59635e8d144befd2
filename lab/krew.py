# SPDX-License-Identifier: Apache-2.0
"""Archives of ``kubectl footprint`` for krew, and the manifest that names their checksums.

    python -m lab.krew --version v0.1.0 --uri https://HOST/PATH

Enters: the checkout, and the lock of the plugin's packages. Leaves: in ``build/krew`` an archive for each
platform, and ``footprint.yaml``. Guarantees: the same checkout makes the same bytes; every package is of the lock,
by its hash. An archive holds what was compiled for each Python apart, and the rest once.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from lab.errors import LabError

CHECKOUT: Final = Path(__file__).parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13")
PACKAGES: Final = ("footprint", "extender", "plugin")
"""Ours that the plugin imports."""
_LEFT_OUT: Final = ("bin", "__pycache__", ".lock", "uv_cache.json", "INSTALLER", "REQUESTED", "RECORD")


class Platform(NamedTuple):
    """What krew calls a machine, and what uv calls it."""

    os: str
    arch: str
    target: str

    @property
    def name(self) -> str:
        return f"{self.os}-{self.arch}"


# Not macOS on Intel: cryptography has no wheels for it any more.
PLATFORMS: Final = (
    Platform("linux", "amd64", "x86_64-manylinux_2_28"),
    Platform("linux", "arm64", "aarch64-manylinux_2_28"),
    Platform("darwin", "arm64", "aarch64-apple-darwin"),
)

LAUNCHER: Final = """#!/bin/sh
# Starts kubectl footprint by the first Python that its packages are made for.
self=$0
while [ -L "$self" ]; do
    target=$(readlink "$self")
    case $target in /*) self=$target ;; *) self=$(dirname "$self")/$target ;; esac
done
here=$(dirname "$self")
for version in 3.13 3.12 3.11; do
    if "python$version" -I -c "" >/dev/null 2>&1; then # a shim of pyenv may be there for a Python that is not
        exec "python$version" -I "$here/run.py" "$@"
    fi
done
found=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
if [ -n "$found" ] && [ -d "$here/python$found" ]; then
    exec python3 -I "$here/run.py" "$@"
fi
echo "error: kubectl footprint needs Python 3.11, 3.12 or 3.13, and finds ${found:-none}; install one of them" >&2
exit 2
"""
RUN: Final = '''# SPDX-License-Identifier: Apache-2.0
"""Puts the archive's packages before all others. No variable does, which programs of credentials would inherit."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path[:0] = [str(here / "common"), str(here / "python{}.{}".format(*sys.version_info[:2]))]

from plugin.cli import main  # noqa: E402

raise SystemExit(main())
'''


def contents(platform: Platform, folder: Path) -> dict[str, bytes]:
    """Every file of an archive by its path. ``folder``: where packages may be laid. Raises LabError."""
    trees = {version: _installed(platform, version, folder / version) for version in PYTHONS}
    files = {"kubectl-footprint": LAUNCHER.encode(), "run.py": RUN.encode()}
    for path in [CHECKOUT / "LICENSE", *(CHECKOUT / "LICENSES").glob("*.txt")]:
        files[str(path.relative_to(CHECKOUT))] = path.read_bytes()
    return files | ours() | shared(trees)


def ours() -> dict[str, bytes]:
    """The plugin's own modules, and the files that they read."""
    return {
        f"common/{path.relative_to(CHECKOUT)}": path.read_bytes()
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def shared(trees: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    """``trees`` (Python's version → files) with what is alike in all of them once. A package is not torn apart."""
    roots = {version: _by_root(tree) for version, tree in trees.items()}
    first = next(iter(roots.values()))
    alike = {root for root, files in first.items() if all(other.get(root) == files for other in roots.values())}
    found = {f"common/{path}": data for root in alike for path, data in first[root].items()}
    for version, packages in roots.items():
        for root, files in packages.items():
            if root not in alike:
                found |= {f"python{version}/{path}": data for path, data in files.items()}
    return found


def _by_root(tree: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path, data in tree.items():
        found.setdefault(path.partition("/")[0], {})[path] = data
    return found


def _installed(platform: Platform, version: str, target: Path) -> dict[str, bytes]:
    """The lock's packages as they are for ``platform`` and a Python of ``version``."""
    argv = [
        str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--require-hashes", "--no-deps",
        "--only-binary", ":all:", "--python-platform", platform.target, "--python-version", version,
        "--target", str(target), "-r", str(CHECKOUT / "requirements" / "plugin.txt"),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"packages for {platform.name}, Python {version}: {done.stderr.strip()}")
    return {
        str(path.relative_to(target)): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file() and not set(path.relative_to(target).parts) & set(_LEFT_OUT)
    }


def archive(files: Mapping[str, bytes]) -> bytes:
    """``files`` as ``tar.gz``, the same for the same files."""
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path]), 0o755 if path == "kubectl-footprint" else 0o644
            tar.addfile(entry, io.BytesIO(files[path]))
    return raw.getvalue()


def manifest(version: str, uri: str, checksums: Mapping[Platform, str]) -> dict[str, Any]:
    """krew's description of the plugin; ``uri`` is the folder that will serve the archives."""
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "footprint"},
        "spec": {
            "version": version,
            "shortDescription": "Show elephant and mice flows, explain placements",
            "description": (
                "Shows what Traffic Footprint measured of nodes, pods and workloads, live or as tables and JSON. "
                "Says which nodes suit a pod, and why. It needs Traffic Footprint in the cluster, and Python 3.11 "
                "to 3.13 here."
            ),
            "caveats": (
                "For completion, put the output of `kubectl footprint completion` as kubectl_complete-footprint "
                "on your PATH, executable."
            ),
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": platform.os, "arch": platform.arch}},
                    "uri": f"{uri.rstrip('/')}/{file_name(platform)}", "sha256": checksum,
                    "bin": "kubectl-footprint",
                }
                for platform, checksum in checksums.items()
            ],
        },
    }  # fmt: skip


def file_name(platform: Platform) -> str:
    return f"footprint-{platform.name}.tar.gz"


def make(output: Path, version: str, uri: str, platforms: Iterable[Platform]) -> Path:
    """Write the archives and the manifest to ``output``; the manifest's path. Raises LabError."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    checksums = {}
    for platform in platforms:
        with tempfile.TemporaryDirectory(dir=output) as folder:
            data = archive(contents(platform, Path(folder)))
        (output / file_name(platform)).write_bytes(data)
        checksums[platform] = hashlib.sha256(data).hexdigest()
        print(f"{output / file_name(platform)}: {len(data) / 2**20:.1f} MiB, sha256 {checksums[platform]}")
    path = output / "footprint.yaml"
    path.write_text(yaml.safe_dump(manifest(version, uri, checksums), sort_keys=False, width=100))
    return path


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m lab.krew", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--version", required=True, help="of the plugin, with a v, such as v0.1.0")
    parser.add_argument("--uri", required=True, help="folder that will serve the archives")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build" / "krew", help="where to write")
    names = {platform.name: platform for platform in PLATFORMS}
    parser.add_argument("--platform", action="append", choices=names, help="only this one; may be repeated")
    given = parser.parse_args()
    if not given.version.startswith("v"):
        parser.error("--version begins with a v, as krew wants it")
    try:
        print(make(given.output, given.version, given.uri, [names[name] for name in given.platform or names]))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
