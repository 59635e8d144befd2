# SPDX-License-Identifier: Apache-2.0
"""Building: when, once, and how it fails. ``go`` is a shell script; the real one is a tier of its own."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from lab.controlplane import build, pins
from lab.controlplane.pins import ETCD_MODULE, KUBERNETES_MODULE
from lab.errors import LabError

# Answers `go version`; for `go build ... -o OUT PACKAGES...` writes a program per package and a line to the log.
FAKE_GO = """#!/bin/sh
if [ "$1" = version ]; then echo "{says}"; exit 0; fi
echo "$CGO_ENABLED $*" >> {log}
echo compiling; {effect}
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
for package in "$@"; do
  case $out in */) echo x > "$out${{package##*/}}";; *) echo x > "$out";; esac
done
"""


@pytest.fixture
def go_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no Go but one that a test makes with ``fake_go``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(build, "_USUAL_GO", str(tmp_path / "bin" / "go"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "go.log"


def fake_go(log: Path, says: str = "go version go1.99.0 linux/amd64", effect: str = ":") -> None:
    path = log.parent / "bin" / "go"
    path.write_text(FAKE_GO.format(says=says, log=log, effect=effect))
    path.chmod(0o755)


def test_missing_programs_are_built_into_the_cache_once(go_log: Path) -> None:
    fake_go(go_log)
    programs = [name for name, _ in KUBERNETES_MODULE.packages]
    build.build(KUBERNETES_MODULE, programs)
    build.build(KUBERNETES_MODULE, programs)
    assert sorted(p.name for p in KUBERNETES_MODULE.cache.iterdir()) == sorted(programs)
    (call,) = go_log.read_text().splitlines()
    assert call.startswith("0 build")
    assert "-trimpath" in call
    assert all(f"cmd/{name}" in call for name in programs)


def test_a_single_program_keeps_its_own_name(go_log: Path) -> None:
    fake_go(go_log)
    build.build(ETCD_MODULE, [pins.ETCD])
    assert [p.name for p in ETCD_MODULE.cache.iterdir()] == [pins.ETCD]


def test_only_what_is_missing_is_built(go_log: Path) -> None:
    fake_go(go_log)
    build.build(KUBERNETES_MODULE, [pins.KUBECTL])
    assert "kube-apiserver" not in go_log.read_text()


def test_ensure_builds_what_is_neither_at_hand_nor_cached(go_log: Path) -> None:
    fake_go(go_log)
    found = build.ensure()
    assert set(found) == {name for module in pins.MODULES for name, _ in module.packages}
    assert all(f.path.is_file() for f in found.values())


def test_the_pinned_version_is_stamped_in() -> None:
    flags = build.ldflags(KUBERNETES_MODULE)
    version = KUBERNETES_MODULE.version
    assert f"-X k8s.io/component-base/version.gitVersion=v{version} " in flags
    assert f"gitMajor={version.major} " in flags
    assert f"gitMinor={version.minor} " in flags


def test_helm_is_told_its_patch_release() -> None:
    assert build.ldflags(pins.HELM_MODULE).endswith(f".version=v{pins.HELM_MODULE.version}")


def test_a_lab_does_not_wait_for_helm(go_log: Path) -> None:
    fake_go(go_log)
    assert pins.HELM not in build.ensure()
    assert pins.HELM in build.ensure(pins.TOOLS)


def test_a_failed_build_leaves_nothing_and_says_why(go_log: Path) -> None:
    fake_go(go_log, effect="echo no such module; exit 1")
    with pytest.raises(LabError, match=r"(?s)building etcd .* failed .*no such module"):
        build.build(ETCD_MODULE, [pins.ETCD])
    assert list(ETCD_MODULE.cache.iterdir()) == []
    assert [p for p in ETCD_MODULE.cache.parent.iterdir() if p.name.startswith(".")] == []


def test_without_go_the_remedy_is_named(go_log: Path) -> None:
    assert not go_log.exists()
    with pytest.raises(LabError, match=r"Go is not installed.*install Go 1\.\d+ or newer.*KUBEBUILDER_ASSETS"):
        build.build(ETCD_MODULE, [pins.ETCD])


def test_an_old_go_is_named_with_the_remedy(go_log: Path) -> None:
    fake_go(go_log, says="go version go1.19.8 linux/amd64")
    with pytest.raises(LabError, match=r"is Go 1\.19, too old.*install Go"):
        build.build(ETCD_MODULE, [pins.ETCD])


def test_a_go_that_cannot_fetch_the_toolchain_is_named_with_the_remedy(go_log: Path) -> None:
    fake_go(go_log, says="")
    with pytest.raises(LabError, match=r"cannot build etcd.*install Go"):
        build.build(ETCD_MODULE, [pins.ETCD])


def test_progress_is_shown_while_building(
    go_log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "PROGRESS_SECONDS", 0.01)
    fake_go(go_log, effect="sleep 0.5")
    build.build(ETCD_MODULE, [pins.ETCD])
    shown = capsys.readouterr().err
    assert "about half a minute" in shown
    assert " s, 1 packages compiled" in shown
    assert "built etcd" in shown


def test_two_builds_do_not_race(go_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_go(go_log)
    ETCD_MODULE.cache.mkdir(parents=True)
    with (ETCD_MODULE.cache.parent / "etcd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=build.build, args=(ETCD_MODULE, [pins.ETCD]))
        second.start()
        deadline = time.monotonic() + 20
        while "waiting for another build" not in capsys.readouterr().err:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (ETCD_MODULE.cache / pins.ETCD).touch()  # what the first build leaves
        fcntl.flock(lock, fcntl.LOCK_UN)
        second.join(20)
    assert not go_log.exists(), "the second built again what the first had left"


def test_the_command_prints_one_error_line_and_fails(go_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not go_log.exists()
    assert build.main([]) == 2
    assert capsys.readouterr().err.startswith("error: Go is not installed")


def test_the_command_lists_the_programs(go_log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_go(go_log)
    assert build.main([]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 7
    assert all(os.path.isabs(line.rpartition(": ")[2]) for line in shown)  # noqa: PTH117 - a string, not a path
