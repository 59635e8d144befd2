# SPDX-License-Identifier: Apache-2.0
"""The command line: what a person sees when something is missing. Nothing here starts a lab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import __main__ as cli
from lab import preconditions, state
from lab.errors import LabError


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty registry of the test's own, and a machine that passes the preconditions."""
    monkeypatch.setattr(preconditions, "check", lambda: None)
    for function in (state.entries, state.clean_leftovers):
        monkeypatch.setattr(function, "__defaults__", (tmp_path, *(function.__defaults__ or ())[1:]))
    return tmp_path


def test_without_root_the_remedy_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for command in (["up"], ["clean"], ["list"]):
        assert cli.main(command) == 2
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1
        assert "run it as root" in shown.err


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"not installed: ip, .*nft.*apt-get install -y .*iproute2 .*nftables"):
        preconditions.check()


def kernel(proc: Path, *, tracks: bool) -> Path:
    """A stand-in for /proc."""
    settings = proc / "sys/net/netfilter"
    settings.mkdir(parents=True, exist_ok=True)
    if tracks:
        (settings / "nf_conntrack_count").write_text("0\n")
    return proc


def test_connection_tracking_that_is_there_is_left_alone(tmp_path: Path) -> None:
    preconditions.conntrack(kernel(tmp_path, tracks=True), lambda: pytest.fail("nothing to load"))


def test_connection_tracking_is_loaded_where_it_is_a_module(tmp_path: Path) -> None:
    def load() -> str:
        kernel(tmp_path, tracks=True)
        return ""

    preconditions.conntrack(kernel(tmp_path, tracks=False), load)


def test_a_kernel_without_connection_tracking_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        LabError, match=r"no module here.*modprobe -a nf_conntrack nf_conntrack_netlink"
    ) as refused:
        preconditions.conntrack(kernel(tmp_path, tracks=False), lambda: "no module here")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("script", ["exit 0", "echo FATAL: first >&2; echo FATAL: second >&2; exit 1", None])
def test_what_modprobe_says_is_one_line_and_its_absence_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "modprobe").write_text(
            f'#!/bin/sh\n[ "$*" = "-a nf_conntrack nf_conntrack_netlink" ] || exit 9\n{script}\n'
        )
        (tmp_path / "modprobe").chmod(0o755)
    said = preconditions.load_modules()
    assert said == {"exit 0": "", None: said}.get(script, "FATAL: first; FATAL: second")
    assert bool(said) is (script != "exit 0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "0"], "0 nodes: a lab has 1 to"),
        (["--link", "fast"], "'fast' is not a bandwidth"),
        (["--vm", "6.12"], "give --real too"),
        (["--real", "--vm", "5.4"], "choose one of 6.1, 6.12"),
        (["--real", *(["--vm", "6.1"] * 3)], "more than 2 starve each other"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["up", *arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert shown.count("\n") == 1


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["up"], ["clean"], ["list"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--help"])
        assert ended.value.code == 0
    assert "--no-extender" in capsys.readouterr().out


def test_labs_are_listed_with_their_state(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out == "no labs\n"
    lab = state.create(registry)
    (registry / "dead").mkdir()
    assert cli.main(["list"]) == 0
    listed = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    lab.release()
    assert listed == {lab.id: "running", "dead": "crashed"}


def test_cleaning_says_what_it_removed(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing was left behind\n"
    (registry / "dead").mkdir()
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().out == "removed what was left of: dead\n"
