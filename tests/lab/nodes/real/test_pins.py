# SPDX-License-Identifier: Apache-2.0
"""Programs of real nodes: pinned beside the control plane, at its version, and not built by a plain lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.controlplane import assets, build
from lab.controlplane import pins as plane
from lab.nodes.real import pins


@pytest.mark.parametrize("module", [*pins.MODULES, pins.KUBE_ROUTER_MODULE], ids=lambda module: module.name)
def test_each_module_pins_its_programs_and_the_sums_of_all_it_needs(module: plane.Module) -> None:
    assert module.version.major >= 1
    assert (module.folder / "go.sum").stat().st_size > 0
    tools = (module.folder / "go.mod").read_text()
    assert all(package in tools for _, package in module.packages)


def test_kubelets_have_the_version_of_the_control_plane() -> None:
    assert pins.KUBELET_MODULE.version == plane.KUBERNETES_MODULE.version


def test_a_lab_with_the_stand_in_builds_none_of_it() -> None:
    built = {program for module in (*plane.MODULES, *plane.TOOLS) for program, _ in module.packages}
    assert not built & {program for module in pins.MODULES for program, _ in module.packages}


def test_only_a_lab_whose_network_it_is_builds_kube_router() -> None:
    assert pins.KUBE_ROUTER_MODULE not in pins.MODULES


def test_each_kind_of_program_is_kept_apart_in_the_cache() -> None:
    modules = (*plane.MODULES, *plane.TOOLS, *pins.MODULES, pins.KUBE_ROUTER_MODULE)
    assert len({module.cache for module in modules}) == len({module.name for module in modules}) == len(modules)


def test_versions_are_stamped_in() -> None:
    assert f"version.gitVersion=v{pins.KUBELET_MODULE.version} " in build.ldflags(pins.KUBELET_MODULE)
    assert (
        build.ldflags(pins.RUNC_MODULE) == f"-s -w -X main.version={pins.RUNC_MODULE.version} -extldflags -static"
    )


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_network_plugin_at_hand_is_looked_for_in_the_plugins_path_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = pins.CNI_MODULE.version
    _program(tmp_path / "bin", "bridge", f"echo bridge utility, iproute2-{version}")
    _program(tmp_path / "cni", "bridge", f"echo CNI bridge plugin v{version} >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("CNI_PATH", f"{tmp_path}/cni")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    found, refused = assets.locate(pins.CNI_MODULE)
    assert (found["bridge"].path, found["bridge"].origin) == (tmp_path / "cni" / "bridge", "CNI_PATH")
    assert refused == []


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (pins.KUBELET, "echo Kubernetes v1.37.2"),
        (pins.CONTAINERD, "echo containerd github.com/containerd/containerd/v2 2.4.2 abc"),
        (pins.SHIM, '[ "$1" = -v ] && printf "containerd-shim-runc-v2:\\n  Version:  2.4.2\\n"'),
        (pins.RUNC, 'printf "runc version 1.5.3\\nspec: 1.3.0\\ngo: go1.26.8\\n"'),
    ],
)
def test_a_program_in_path_of_the_right_version_is_used(
    program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path / "bin", program, says)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    module = next(m for m in pins.MODULES if program in dict(m.packages))
    found, _ = assets.locate(module)
    assert found[program].origin == "PATH"
