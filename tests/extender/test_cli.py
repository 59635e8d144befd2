# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from pydantic_settings import BaseSettings

from extender import run as program
from extender.cleanup import CleanupSettings
from extender.cli import main, read_settings
from extender.serving.limits import Limits
from extender.serving.server import listen
from extender.settings import DEFAULT_PORT, Settings
from footprint.declared import PlacementMode

PATIENCE_SECONDS = 60.0


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that ``arguments`` fail with."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("error: ")
    return text


def answer_of(url: str) -> str:
    """What ``url`` answers as soon as somebody listens there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - our own
                return str(answer.read().decode())
        except URLError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.05)


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_PLACEMENT", "strict")
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_RELAX_AFTER", "7")
    settings = read_settings(["--relax-after", "9", "--port", "0"])
    assert (settings.policy.placement, settings.policy.relax_after, settings.port) == (
        PlacementMode.STRICT,
        9.0,
        0,
    )


@pytest.mark.parametrize(
    ("arguments", "shadow"),
    [
        ([], False), (["--shadow"], True), (["--shadow", "--port", "0"], True),
        (["--port", "0", "--shadow"], True), (["--shadow=true"], True), (["--shadow", "true"], True),
        (["--shadow=false"], False), (["--shadow", "false"], False),
    ],
)  # fmt: skip
def test_shadow_mode_is_a_switch_that_may_have_a_value(arguments: list[str], shadow: bool) -> None:
    assert read_settings(arguments).policy.shadow is shadow


def test_a_service_of_our_name_does_not_become_our_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_PORT", "tcp://10.96.0.7:8890")
    assert read_settings([]).port == DEFAULT_PORT


def test_every_setting_is_documented() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--port", "99999"], "--port '99999'"),
        (["--placement", "sometimes"], "'score', 'prefer', 'strict' or 'ignore'"),
        (["--default-elephant-bandwidth", "lots"], "such as 400M"),
        (["--stale-after", "nan"], "--stale-after"),
        (["--stale-after", "0"], "greater than 0"),
        (["--tls-cert", "/c.pem"], "--tls-cert and --tls-key belong together"),
        (["--client-ca", "/ca.pem"], "--client-ca needs --tls-cert and --tls-key"),
        (["--tls-cert", "/c.pem", "--tls-key", "/k.pem"], "/c.pem cannot be read"),
        (["--state", "/nonexistent.json"], "kubectl get nodes,pods,leases -A -o json"),
        (["--deadline", "0"], "--deadline"),
        (["--kubeconfig", "/nonexistent/config"], "name an existing one with --kubeconfig FILE"),
    ],
)
def test_what_cannot_be_understood_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    assert part in error_of(capsys, "run", *arguments)


def test_an_unreadable_kubeconfig_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("{")
    assert str(config) in error_of(capsys, "run", "--kubeconfig", str(config))


@pytest.mark.parametrize("arguments", [[], ["serve"]])
def test_another_command_is_refused_with_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "usage: traffic-footprint-extender [run]|cleanup" in error_of(capsys, *arguments)


@pytest.mark.parametrize("command", [[], ["run"]])
def test_flags_without_a_command_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    served: list[Settings] = []
    monkeypatch.setattr(program, "serve", served.append)
    state = tmp_path / "state.json"
    main([*command, "--state", str(state), "--host", "127.0.0.1", "--port", "8123"])
    assert [(s.state, s.host, s.port) for s in served] == [(state, "127.0.0.1", 8123)]


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_alone_shows_every_command(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([flag])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: traffic-footprint-extender [run]|cleanup")
    for part in ("serve filter, prioritize", "annotations and Leases", "COMMAND --help"):
        assert part in shown


@pytest.mark.parametrize("command", ["run", "cleanup"])
def test_a_commands_help_names_every_flag(capsys: pytest.CaptureFixture[str], command: str) -> None:
    models: dict[str, type[BaseSettings]] = {"run": Settings, "cleanup": CleanupSettings}
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in models[command].model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert " ".join(str(field.description).split()) in shown.replace("- ", "-")


def test_a_saved_cluster_is_served_by_the_installed_program(tmp_path: Path) -> None:
    """The command as documented, in a process of its own, until it is told to end."""
    state = tmp_path / "state.json"
    state.write_text('{"items":[]}')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [sys.executable, "-c", "from extender.cli import main; main()"]
    flags = ["--state", str(state), "--host", "127.0.0.1", "--port", str(port), "--drain", "0"]
    with subprocess.Popen([*program, *flags]) as process:
        try:
            assert answer_of(f"http://127.0.0.1:{port}/readyz") == "ok"
        finally:
            process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_port_in_use_names_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            listen("127.0.0.1", port)
    assert caught.value.code == 2
    assert f"ss -ltnp 'sport = :{port}'" in capsys.readouterr().err


def test_an_address_of_another_machine_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        listen("192.0.2.1", 0)
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err


def test_connections_outlive_those_of_gos_client() -> None:
    assert Limits().keep_alive_seconds > 90
