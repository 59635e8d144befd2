# SPDX-License-Identifier: Apache-2.0
"""Where software comes from: the lock files, bills of materials, and statements about built images."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lab.errors import LabError
from lab.images import inputs, provenance, sbom
from lab.images.__main__ import main
from lab.images.contents import Part
from lab.images.inputs import CHECKOUT

LOCKS = CHECKOUT / "requirements"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pins(lock: str) -> dict[str, str]:
    """Versions by name."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (LOCKS / lock).read_text(), re.MULTILINE))


PROGRAMS = ("nodeagent", "extender", "plugin")
"""Extras of pyproject.toml, one for each program."""


def project() -> dict[str, Any]:
    """pyproject.toml's table of that name."""
    found: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return found


def declared(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, for every program and for ``extras``."""
    texts = [*project()["dependencies"], *(t for e in extras for t in project()["optional-dependencies"][e])]
    wanted = [Requirement(text) for text in texts]
    return [one for one in wanted if one.name != project()["name"]]  # an extra that brings other extras


def lock_files() -> list[str]:
    return sorted(path.name for path in LOCKS.iterdir())


def test_there_is_a_lock_for_each_that_installs() -> None:
    assert lock_files() == ["build.txt", "development.txt", "plugin.txt", "runtime.txt"]


@pytest.mark.parametrize("lock", lock_files())
def test_a_lock_pins_every_package_by_hash_and_names_no_server(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert blocks
    for block in blocks:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; [^\\]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+", block), (
            block
        )
    assert "://" not in text
    assert "index" not in text


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("runtime.txt", PROGRAMS),
        ("plugin.txt", ("plugin", "doctor")),
        ("development.txt", (*PROGRAMS, "doctor", "lab", "dev")),
    ],
)
def test_the_locks_are_current_with_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    """Run ``make lock`` when this fails."""
    pinned = pins(lock)
    for requirement in declared(*extras):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{lock} lacks {requirement}: run `make lock`"
        assert requirement.specifier.contains(version), f"{lock}: {requirement} and {version}: run `make lock`"


def test_the_locks_know_every_extra() -> None:
    assert set(project()["optional-dependencies"]) == {*PROGRAMS, "doctor", "lab", "dev"}


def test_everybody_installs_the_same_versions() -> None:
    development = pins("development.txt")
    for lock in lock_files():
        assert pins(lock).items() <= development.items(), lock


DEBIAN = {"libstdc++6": "12.2.0-14", "bash": "1:5.2~a"}


def made() -> inputs.Inputs:
    return inputs.of("extender")


def statement() -> dict[str, Any]:
    return provenance.statement(
        made(), CHECKOUT, base="docker.io/library/debian:bookworm-slim", base_digest="sha256:" + "a" * 64,
        digest="b" * 64, image_id="e" * 64, sbom="c" * 64, begun=WHEN, ended=WHEN,
    )  # fmt: skip


def test_a_statement_is_about_one_image_and_names_all_that_it_was_made_from() -> None:
    said = statement()
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert said["subject"] == [{"name": "traffic-footprint/extender", "digest": {"sha256": "b" * 64}}]
    definition, run = (said["predicate"][key] for key in ("buildDefinition", "runDetails"))
    names = [one["name"] for one in definition["resolvedDependencies"]]
    assert names == [
        "docker.io/library/debian:bookworm-slim", "source", "build-context",
        "requirements/build.txt", "requirements/runtime.txt",
    ]  # fmt: skip
    assert definition["resolvedDependencies"][1]["digest"]["gitCommit"] == made().revision.removesuffix("-dirty")
    assert run["metadata"] == {"startedOn": "2026-01-02T03:04:05Z", "finishedOn": "2026-01-02T03:04:05Z"}


def test_a_checkout_bears_out_a_statement_about_its_own_files_and_no_other(tmp_path: Path) -> None:
    said = statement()
    assert provenance.differences(said, CHECKOUT) == []
    said["predicate"]["buildDefinition"]["resolvedDependencies"][2]["digest"]["sha256"] = "d" * 64
    (found,) = provenance.differences(said, CHECKOUT)
    assert found.startswith(f"build-context: the image was made from {'d' * 64}, here is {made().files}")
    file = tmp_path / "provenance.json"
    file.write_text(json.dumps(said))
    assert main(["verify", str(file)]) == 1
    file.write_text(json.dumps(statement()))
    assert main(["verify", str(file)]) == 0


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "7", '{"_type": "https://in-toto.io/Statement/v1"}'])
def test_what_is_no_statement_is_refused_with_a_reason(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "provenance.json"
    file.write_text(text)
    assert main(["verify", str(file)]) == 2
    assert "statement" in capsys.readouterr().err
    with pytest.raises(LabError):
        provenance.differences(provenance.read(file), CHECKOUT)


def test_a_bill_of_materials_keeps_to_cyclonedx_and_tells_each_package_apart() -> None:
    debian = [Part(name, version, 1, architecture="amd64") for name, version in DEBIAN.items()]
    python = [Part("orjson", "3.13.0", 1, licence="MPL-2.0 AND MIT"), Part("odd", "1", 1, licence="what?")]
    text = sbom.document("traffic-footprint/extender", "0.1.0", debian, python)
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["name"] == "traffic-footprint/extender"
    assert [part["licenses"] for part in document["components"] if part["name"] == "orjson"] == [
        [{"expression": "MPL-2.0 AND MIT"}]
    ]
    assert sorted(part["purl"] for part in document["components"]) == [
        "pkg:deb/debian/bash@1:5.2~a?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12",
        "pkg:pypi/odd@1",
        "pkg:pypi/orjson@3.13.0",
    ]
