# SPDX-License-Identifier: Apache-2.0
"""A program of several commands: which one runs, its help, and errors in one line."""

from __future__ import annotations

import os

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from footprint.commands import Action, BadSettingError, Command, Program
from footprint.settings import SettingsAction, read


class Serve(BaseSettings):
    """Serves the things."""

    model_config = SettingsConfigDict(env_prefix="THINGS_", cli_kebab_case=True, cli_prog_name="things serve")

    poll_interval: float = Field(1.5, gt=0, description="Seconds between readings.")
    dry: bool = Field(False, description="Only say what would be done.")
    owner: str | None = Field(None, description="Absent: whoever asks.")


def program(ran: list[object]) -> Program:
    def serve() -> Action:
        return SettingsAction(Serve, lambda settings: ran.append(settings) or 3)  # type: ignore[func-returns-value]

    def unused() -> Action:
        raise AssertionError("imported although another command was chosen")

    commands = [
        Command("serve", "serve things", serve, ("srv",)),
        Command("explain", "say 100 % of why", unused),
    ]
    return Program("things", "About things.", commands, default="serve")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("THINGS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("arguments", [["serve"], ["srv"], []], ids=" ".join)
def test_a_command_its_alias_and_flags_alone_run_it(arguments: list[str]) -> None:
    ran: list[object] = []
    assert program(ran).main([*arguments, "--poll-interval", "4"]) == 3
    assert [(s.poll_interval, s.dry) for s in ran if isinstance(s, Serve)] == [(4.0, False)]


@pytest.mark.parametrize(
    ("arguments", "dry"),
    [(["--dry"], True), (["--dry", "--owner", "x"], True), (["--dry=false"], False), (["--dry", "true"], True)],
)
def test_a_bare_switch_says_yes_and_may_have_a_value(arguments: list[str], dry: bool) -> None:
    assert read(Serve, arguments).dry is dry


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        program([]).main(arguments)
    assert isinstance(caught.value.code, int)
    return (caught.value.code, *capsys.readouterr())


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]], ids=" ".join)
def test_a_programs_help_names_every_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, shown, _ = ended(capsys, *arguments)
    assert code == 0
    for part in ("About things.", "[serve]|explain", "serve things", "srv", "say 100 % of why", "COMMAND --help"):
        assert part in shown


@pytest.mark.parametrize("arguments", [["serve", "--help"], ["help", "serve"], ["serve", "-h"]], ids=" ".join)
def test_a_commands_help_has_defaults_units_and_variables(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, shown, _ = ended(capsys, *arguments)
    told = " ".join(shown.split())
    assert code == 0
    assert "Serves the things." in told
    assert "Seconds between readings. (default: 1.5) [env: THINGS_POLL_INTERVAL]" in told
    assert "Absent: whoever asks. [env: THINGS_OWNER]" in told


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sevre"], ["unknown command 'sevre'", "did you mean serve?", "usage: things [serve]|explain"]),
        (["zzz"], ["unknown command 'zzz'", "use serve or explain"]),
        ([], ["no command given", "usage: things"]),
        (["serve", "--pol-interval", "2"], ["unknown flag '--pol-interval'", "did you mean --poll-interval?"]),
        (["serve", "--zzz=1"], ["unknown flag '--zzz'", "see `things serve --help`"]),
        (["--pol-interval", "2"], ["did you mean --poll-interval?"]),
        (["serve", "--poll", "2"], ["unknown flag '--poll'"]),  # flags are written in full
        (["serve", "now"], ["unexpected argument 'now'"]),
        (["serve", "--poll-interval"], ["--poll-interval: expected one argument"]),
        (
            ["serve", "--poll-interval", "0"],
            ["--poll-interval '0'", "greater than 0", "see `things serve --help`"],
        ),
        (["serve", "--poll-interval", "\x1b[2J\n"], [r"\x1b[2J\n"]),
    ],
)
def test_what_cannot_be_understood_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    code, _, told = ended(capsys, *arguments)
    assert code == 2
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert [part for part in parts if part not in told] == []


def test_a_bad_variable_is_named_with_its_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGS_POLL_INTERVAL", "soon")
    with pytest.raises(BadSettingError, match=r"--poll-interval \(or THINGS_POLL_INTERVAL\) 'soon'"):
        read(Serve, [])
