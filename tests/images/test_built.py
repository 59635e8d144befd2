# SPDX-License-Identifier: Apache-2.0
"""What is in the built images, and what is not: looked up in their file systems, not in the Dockerfiles."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from lab.images import base, contents, inputs, provenance
from lab.images.container import command
from lab.images.images import Image
from lab.images.inputs import CHECKOUT

# Not that a cluster is needed, but root, packages from mirrors, and minutes the first time.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PROGRAMS: Final = {
    "nodeagent": {"traffic-footprint-nodeagent"},
    "extender": {"traffic-footprint-extender", "kubectl-footprint"},
}
OTHER: Final = {"nodeagent": "extender", "extender": "nodeagent"}
COMPILERS: Final = re.compile(
    r"(.*-)?(gcc|g\+\+|c\+\+|cc|cpp|clang|clang\+\+|llc|tcc|as|ld|make|rustc|go)(-[\d.]+)?"
)
PACKAGING: Final = {"pip", "setuptools", "wheel", "ensurepip", "pkg_resources", "distutils"}


def files(image: Image) -> Iterator[Path]:
    return (path for path in image.rootfs.rglob("*") if path.is_file() and not path.is_symlink())


def inside(image: Image, *argv: str) -> str:
    """What ``argv`` prints in the image, as its user, with no capability at all."""
    done = subprocess.run(
        command(image.rootfs, image.config, entrypoint=argv), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_labels_say_which_version_from_which_commit_on_which_base(built: Image) -> None:
    made, prefix = inputs.of(built.component), "org.opencontainers.image."
    labels = built.config["Labels"]
    assert labels[f"{prefix}title"] == f"traffic-footprint/{built.component}"
    assert labels[f"{prefix}version"] == made.version == inside(built, "python", "-c", VERSION).strip()
    assert labels[f"{prefix}revision"] == made.revision
    ours = {
        "extender": "Apache-2.0 AND MIT",
        "nodeagent": "Apache-2.0 AND GPL-2.0-only",
    }  # the page uPlot, the agent bpf/
    assert labels[f"{prefix}licenses"] == ours[built.component]
    assert labels[f"{prefix}base.name"] == base.NAME
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels[f"{prefix}base.digest"])
    assert labels[f"{prefix}description"]


VERSION: Final = "from importlib.metadata import version; print(version('traffic-footprint'))"


def test_the_bill_of_materials_lists_what_is_there_and_keeps_to_its_format(built: Image) -> None:
    text = built.sbom.read_text()
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None
    listed = {(part["purl"].partition("@")[0], part["version"]) for part in json.loads(text)["components"]}
    debian = {
        (f"pkg:deb/debian/{quote(name)}", part.version) for name, part in contents.debian(built.rootfs).items()
    }
    python = {(f"pkg:pypi/{name}", part.version) for name, part in contents.python(built.rootfs).items()}
    assert len(debian) > 80 < len(listed)
    assert listed == debian | python


def test_the_provenance_names_the_image_and_what_it_was_made_from(built: Image) -> None:
    said = provenance.read(built.provenance)
    made, definition = inputs.of(built.component), said["predicate"]["buildDefinition"]
    assert said["subject"] == [{"name": made.name, "digest": {"sha256": built.about["digest"]}}]
    manifest = (built.layout / "blobs" / "sha256" / built.about["digest"]).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == built.about["digest"]
    assert json.loads(manifest)["config"]["digest"] == f"sha256:{built.about['id']}"
    assert definition["externalParameters"]["REVISION"] == made.revision
    base_digest = built.config["Labels"]["org.opencontainers.image.base.digest"]
    assert definition["resolvedDependencies"][0] == {
        "name": base.NAME, "digest": {"sha256": base_digest.removeprefix("sha256:")},
    }  # fmt: skip
    bill, image_id = said["predicate"]["runDetails"]["byproducts"]
    assert bill["digest"] == {"sha256": inputs.sha256(built.sbom)}
    assert image_id["digest"] == {"sha256": built.about["id"]}
    assert provenance.differences(said, CHECKOUT) == []


def test_the_program_starts_by_itself_and_stops_on_sigterm(built: Image) -> None:
    config = built.config
    assert config["Entrypoint"] == [f"traffic-footprint-{built.component}"]
    assert config["Cmd"] == ["run"]
    assert config["StopSignal"] == "SIGTERM"
    assert inside(built, *config["Entrypoint"], "run", "--help").startswith("usage:")


def test_the_extender_is_nobody_and_the_agent_is_root(built: Image) -> None:
    assert built.config["User"] == {"extender": "65532:65532", "nodeagent": "0:0"}[built.component]


def test_there_is_nothing_to_install_or_to_compile_with(built: Image) -> None:
    folders = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", f"{contents.APPLICATION}/bin")
    programs = {path.name for folder in folders for path in (built.rootfs / folder).iterdir()}
    assert {name for name in programs if COMPILERS.fullmatch(name)} == set()
    assert {name for name in programs if name.startswith(("pip", "easy_install", "wheel"))} == set()
    assert "python3.11" in programs, "the search looks at the right folders"
    modules = {path.name.partition("-")[0] for path in built.rootfs.rglob("*-packages/*")}
    modules |= {path.name for path in (built.rootfs / "usr/lib/python3.11").iterdir()}
    assert modules & PACKAGING <= {"distutils"}, (
        "of distutils the distribution keeps one file with the interpreter"
    )


def test_only_the_agent_holds_a_compiler_and_that_as_a_library_for_bcc(built: Image) -> None:
    brought = {name for name in contents.debian(built.rootfs) if re.search(r"clang|llvm|bpfcc", name)}
    expected = {"libclang-cpp14", "libllvm14", "libbpfcc", "python3-bpfcc"}
    assert brought == (expected if built.component == "nodeagent" else set())


def test_no_program_gives_powers_away_and_nobody_may_write(built: Image) -> None:
    for path in built.rootfs.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or path.is_relative_to(built.rootfs / "dev"):
            continue
        assert not (stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID)), path
        assert not mode & stat.S_IWOTH or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX), path


def test_the_build_left_nothing_of_itself(built: Image) -> None:
    root = built.rootfs
    for gone in ("src", "wheels", "build", "requirements.txt", "run/secrets", "root/.cache", "etc/pip.conf"):
        assert not (root / gone).exists(), gone
    for empty in ("var/lib/apt/lists", "var/cache/apt/archives", "var/log", "tmp", "root"):
        left = [path for path in (root / empty).rglob("*") if path.is_file() and path.name not in DEFAULTS]
        assert left == [], empty


DEFAULTS: Final = {".bashrc", ".profile", "lock"}
"""What the base has in root's home, and apt in its folders."""


def test_every_python_package_is_the_pinned_one(built: Image) -> None:
    lock = (CHECKOUT / "requirements" / "runtime.txt").read_text()
    pinned = {
        contents.normalised(name): version for name, version in re.findall(r"^(\S+?)==(\S+)", lock, re.MULTILINE)
    }
    found = {name: part.version for name, part in contents.python(built.rootfs).items()}
    assert found.pop("traffic-footprint") == inputs.version(CHECKOUT)
    assert {"kubernetes", "pydantic", "structlog"} <= found.keys()
    assert found == {name: pinned.get(name, "not pinned") for name in found}


def test_an_image_holds_its_own_programs_and_not_the_other_ones(built: Image) -> None:
    names = {path.name for path in (built.rootfs / contents.APPLICATION / "bin").iterdir()}
    assert names - {"python", "python3", "python3.11"} == PROGRAMS[built.component]
    site = built.rootfs / contents.SITE
    assert (site / built.component).is_dir()
    assert not (site / OTHER[built.component]).exists()


def test_all_of_ours_is_there_and_can_be_imported(built: Image) -> None:
    printed = inside(built, "python", "-W", "error", "-c", IMPORT_ALL, "footprint", built.component)
    expected = {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
        for tree in ("footprint", built.component)
        for path in (CHECKOUT / tree).rglob("*.py")
    }
    assert set(printed.split()) == expected


IMPORT_ALL: Final = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    print(name)
    for found in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(found.name)
        print(found.name)
"""


def test_bcc_is_where_it_is_needed(built: Image) -> None:
    ask = "import importlib.util; print(importlib.util.find_spec('bcc') is not None)"
    assert inside(built, "python", "-c", ask).strip() == str(built.component == "nodeagent")


def test_nothing_has_to_be_compiled_at_the_start(built: Image) -> None:
    """Bytecode of all that is imported, which neither a copy nor a registry's times can make stale."""
    sources = [
        path for path in (built.rootfs / contents.SITE).rglob("*.py") if "kubernetes/client" not in str(path)
    ]
    assert len(sources) > 500
    for path in sources:
        compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
        with compiled.open("rb") as file:
            header = file.read(8)
        assert int.from_bytes(header[4:], "little") == UNCHECKED_HASH, path


UNCHECKED_HASH: Final = 0b01
"""A bytecode file's flags: named by its source's hash, which nobody compares."""


def test_what_runs_in_an_image_ends_with_its_parent_however_that_ends(built: Image) -> None:
    parent = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()"
    begun = command(built.rootfs, built.config, entrypoint=["sh", "-c", "echo begun; exec sleep 600"])
    with subprocess.Popen([sys.executable, "-c", parent, *begun], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.stdout.readline() == "begun\n"
        process.kill()
    deadline = time.monotonic() + PATIENCE
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


PATIENCE: Final = 30.0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_sizes_that_are_told_are_those_of_the_files(built: Image) -> None:
    total = sum(path.stat().st_size for path in files(built))
    told = sum(layer["tar"] for layer in built.about["layers"])
    assert total < told < 1.3 * total + 20e6, "a tar has headers and padding, and files changed above the base"
    for layer in built.about["layers"]:
        assert layer["zstd"] < layer["tar"]
        assert layer["gzip"] < layer["tar"] / 1.5
