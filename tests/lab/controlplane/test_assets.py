# SPDX-License-Identifier: Apache-2.0
"""Choosing programs by the version they answer with; the programs are shell scripts that say what we like."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.controlplane import assets, pins
from lab.controlplane.pins import ETCD_MODULE, HELM_MODULE, KUBERNETES_MODULE, Module, Version

PINNED = KUBERNETES_MODULE.version


def fake(folder: Path, program: str, answer: str, status: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / program
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def kubernetes(minor: int = PINNED.minor, patch: int = PINNED.patch) -> str:
    return f"Kubernetes v{PINNED.major}.{minor}.{patch}"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """KUBEBUILDER_ASSETS and PATH, both empty; an empty cache."""
    first, second = tmp_path / "assets", tmp_path / "path"
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(first))
    monkeypatch.setenv("PATH", f"{second}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return first, second


def test_kubebuilder_assets_come_before_path(folders: tuple[Path, Path]) -> None:
    first = fake(folders[0], pins.KUBE_SCHEDULER, kubernetes())
    fake(folders[1], pins.KUBE_SCHEDULER, kubernetes())
    found, refused = assets.at_hand(pins.KUBE_SCHEDULER, PINNED)
    assert (found, refused) == (assets.Found(first, PINNED, "KUBEBUILDER_ASSETS"), [])


def test_a_fitting_program_on_path_is_used_when_the_one_before_does_not_fit(folders: tuple[Path, Path]) -> None:
    old = fake(folders[0], pins.KUBE_SCHEDULER, kubernetes(PINNED.minor - 1))
    fitting = fake(folders[1], pins.KUBE_SCHEDULER, kubernetes(patch=99))
    found, refused = assets.at_hand(pins.KUBE_SCHEDULER, PINNED)
    assert found is not None
    assert (found.path, found.origin, found.version.patch) == (fitting, "PATH", 99)
    assert [r.path for r in refused] == [old]
    assert f"is version 1.{PINNED.minor - 1}" in refused[0].reason


def test_an_etcd_states_its_version_in_its_own_words(folders: tuple[Path, Path]) -> None:
    pinned = ETCD_MODULE.version
    path = fake(folders[1], pins.ETCD, f"etcd Version: {pinned}\nGit SHA: abc\nGo Version: go1.26.8")
    found, _ = assets.at_hand(pins.ETCD, pinned)
    assert found == assets.Found(path, pinned, "PATH")


def test_a_helm_is_asked_in_its_own_way(folders: tuple[Path, Path]) -> None:
    pinned = HELM_MODULE.version
    path = folders[1] / pins.HELM
    folders[1].mkdir()
    path.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo "v{pinned}+gabc"\n')
    path.chmod(0o755)
    found, _ = assets.at_hand(pins.HELM, pinned)
    assert found == assets.Found(path, pinned, "PATH")


def test_a_program_that_fails_or_says_nothing_is_passed_over(folders: tuple[Path, Path]) -> None:
    fake(folders[0], pins.KUBE_APISERVER, kubernetes(), status=1)
    fake(folders[1], pins.KUBE_APISERVER, "v0.0.0-master+$Format:%H$ of nothing".replace("0.0.0", "zero"))
    found, refused = assets.at_hand(pins.KUBE_APISERVER, PINNED)
    assert found is None
    assert [r.reason for r in refused] == ["does not state its version"] * 2


def test_a_file_that_cannot_be_executed_is_no_candidate(folders: tuple[Path, Path]) -> None:
    fake(folders[0], pins.KUBE_APISERVER, kubernetes()).chmod(0o644)
    assert list(assets.candidates(pins.KUBE_APISERVER)) == []


def test_a_program_of_another_architecture_is_passed_over(folders: tuple[Path, Path]) -> None:
    path = fake(folders[0], pins.KUBE_APISERVER, "")
    path.write_bytes(b"\x7fELF not really")
    found, refused = assets.at_hand(pins.KUBE_APISERVER, PINNED)
    assert found is None
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("program", "minor_off", "accepted"),
    [
        (pins.KUBE_APISERVER, 0, True),
        (pins.KUBE_APISERVER, -1, False),
        (pins.KUBE_APISERVER, 1, False),
        (pins.KUBECTL, -1, True),  # Kubernetes supports kubectl one minor either side of the server
        (pins.KUBECTL, 1, True),
        (pins.KUBECTL, -2, False),
        (pins.ETCD, 0, True),
        (pins.ETCD, 1, False),
    ],
)
def test_only_the_pinned_minor_fits_and_kubectl_one_either_side(
    program: str, minor_off: int, accepted: bool
) -> None:
    pinned = Version(1, 37, 2)
    assert assets.fits(program, Version(1, 37 + minor_off, 0), pinned) is accepted
    assert not assets.fits(program, Version(2, 37 + minor_off, 0), pinned)


def test_built_programs_fill_what_is_not_at_hand(folders: tuple[Path, Path]) -> None:
    apiserver = fake(folders[1], pins.KUBE_APISERVER, kubernetes())
    KUBERNETES_MODULE.cache.mkdir(parents=True)
    built = fake(KUBERNETES_MODULE.cache, pins.KUBE_SCHEDULER, kubernetes())
    found, _ = assets.locate(KUBERNETES_MODULE)
    assert found[pins.KUBE_APISERVER] == assets.Found(apiserver, PINNED, "PATH")
    assert found[pins.KUBE_SCHEDULER] == assets.Found(built, PINNED, "built")
    assert pins.KUBE_CONTROLLER_MANAGER not in found


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.37.2", Version(1, 37, 2)),
        ("Client Version: v1.37.2\nKustomize Version: v5.8.1", Version(1, 37, 2)),
        ("etcd Version: 3.7.3", Version(3, 7, 3)),
        ("Kubernetes v1.37.2-rc.0+dirty", Version(1, 37, 2)),
        ("Kubernetes v1.37", None),
        ("", None),
    ],
)
def test_versions_are_read_out_of_what_programs_print(text: str, version: Version | None) -> None:
    assert pins.parse_version(text) == version


@pytest.mark.parametrize("module", [*pins.MODULES, *pins.TOOLS], ids=lambda m: m.name)
def test_versions_are_read_from_the_pins(module: Module) -> None:
    assert f"{module.requires} v{module.version}" in (module.folder / "go.mod").read_text()
    assert module.go_version >= (1, 21)
    assert module.cache.name.startswith(f"{module.name}-")
