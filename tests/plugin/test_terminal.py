# SPDX-License-Identifier: Apache-2.0
"""What others wrote into the cluster, on a terminal: nothing of it acts."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from plugin.cli import main
from plugin.terminal import Styled, as_json, list_table, show, table
from tests.extender.builders import M, annotation, elephant, node_json, pod_json
from tests.plugin.api_server import by_path, kubeconfig, serving

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r[bold]"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r[bold]"


def harmless(text: str) -> bool:
    return text.replace("\n", "").isprintable()


def test_cells_are_neither_control_characters_nor_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(["NAME"], [[HOSTILE]]))
    shown = capsys.readouterr().out
    assert SHOWN in shown
    assert harmless(shown)


def test_json_says_the_same_without_control_characters() -> None:
    shown = as_json({HOSTILE: [HOSTILE]})
    assert json.loads(shown) == {HOSTILE: [HOSTILE]}
    assert harmless(shown)


@pytest.fixture
def hostile() -> list[dict[str, Any]]:
    """A cluster whose every text is hostile."""
    node = {"kind": "Node", **node_json(f"n{HOSTILE}", annotation(elephant("e", tx=150 * M)))}
    refused = {"kind": "Node", **node_json("refused", annotation(elephant("e", ns=HOSTILE)))}  # by the contract
    broken = {"kind": "Node", **node_json("broken", json.dumps({"v": HOSTILE}))}
    declared = {"traffic-footprint.io/class": HOSTILE, "traffic-footprint.io/placement": HOSTILE}
    pod = {"kind": "Pod", **pod_json(f"p{HOSTILE}", ns="default", annotations=declared)}
    return [node, refused, broken, pod]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nodes"], ["nodes", "-o", "wide"], ["nodes", "-o", "json"], ["nodes", "-o", "yaml"],
        ["nodes", "-o", "jsonpath={.items}"], ["nodes", "-o", "name"], ["top", "--nodes"], ["pods", "-A"],
        ["explain", f"p{HOSTILE}"], ["explain", f"p{HOSTILE}", "-o", "json"],
        ["explain", f"p{HOSTILE}", "-o", "yaml"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(HOSTILE, ""),
)  # fmt: skip
def test_no_command_prints_what_a_terminal_would_act_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, hostile: list[dict[str, Any]], arguments: list[str]
) -> None:
    with serving(by_path(hostile)) as (port, _):
        main([*arguments, "--kubeconfig", str(kubeconfig(tmp_path / "config", port))])
    shown = capsys.readouterr().out
    assert "owned" in shown, "the hostile text is there"
    assert harmless(shown)


def test_an_error_that_repeats_hostile_text_is_one_harmless_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "state.json").write_text('{"items":[]}')
    with pytest.raises(SystemExit):
        main(["explain", f"none{HOSTILE}\n", "--state", str(tmp_path / "state.json")])
    told = capsys.readouterr().err
    assert SHOWN in told
    assert told.count("\n") == 1
    assert harmless(told)


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured(*, terminal: bool, **environment: str) -> bool:
        for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"TERM": "xterm"} | environment).items():
            monkeypatch.setenv(name, value)
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda: terminal)
        monkeypatch.setattr(sys, "stdout", out)
        show(list_table(["CLASS"], [[Styled("elephant", "red")]]), rows_whole=True)
        assert "elephant" in out.getvalue()
        return "\x1b[" in out.getvalue()

    assert coloured(terminal=True)
    assert not coloured(terminal=False)
    assert not coloured(terminal=False, FORCE_COLOR="1")
    assert not coloured(terminal=True, NO_COLOR="1")
    assert not coloured(terminal=True, TERM="dumb")


def test_a_row_stays_one_line_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", out)
    show(list_table(["NAME", "WHAT"], [["n" * 30, "w" * 30]], headers=False), rows_whole=True)
    assert out.getvalue().count("\n") == 1
