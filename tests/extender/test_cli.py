from __future__ import annotations

import socket
from pathlib import Path

import pytest

from extender.cli import main, read_settings
from extender.connections import KEEP_ALIVE_SECONDS
from extender.server import listen
from extender.settings import DEFAULT_PORT, Settings
from footprint.wishes import Placement


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that ``arguments`` fail with."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("error: ")
    return text


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_PLACEMENT", "strict")
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_RELAX_AFTER", "7")
    settings = read_settings(["--relax-after", "9", "--port", "0"])
    assert (settings.policy.placement, settings.policy.relax_after, settings.port) == (Placement.STRICT, 9.0, 0)


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
    assert "usage: traffic-footprint-extender run" in error_of(capsys, *arguments)


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
    assert KEEP_ALIVE_SECONDS > 90
