# SPDX-License-Identifier: Apache-2.0
"""A terminal: what stands on it, what is typed on it, a picture of it."""

from __future__ import annotations

import re
import shutil

import pytest

from lab import terminal
from lab.errors import LabError

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux: apt-get install tmux")
PROGRAM = ["sh", "-c", r'printf "\033[31m%s\033[0m <&> \033[1mbold\033[0m\n" "$WORD"; exec sleep 600']


@needs_tmux
def test_what_stands_on_a_screen_is_drawn_with_its_colours() -> None:
    drawn = terminal.shot(PROGRAM, {"WORD": "elephant"}, "elephant", "a title")
    assert "a&#160;title" in drawn
    assert re.search(r'class="screen-r\d+"[^>]*>elephant<', drawn)
    assert "&lt;&amp;&gt;" in drawn
    assert "font-weight: bold" in drawn


@needs_tmux
def test_nothing_is_loaded_from_elsewhere() -> None:
    drawn = terminal.shot(PROGRAM, {"WORD": "x"}, "x", "t")
    assert "@font-face" not in drawn
    assert "url(http" not in drawn


@needs_tmux
def test_what_never_appears_is_told_with_what_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "SECONDS", 0.5)
    with pytest.raises(LabError, match="'nothing' did not appear"):
        terminal.shot(PROGRAM, {"WORD": "x"}, "nothing", "t")


@needs_tmux
def test_a_program_that_ends_at_once_is_told() -> None:
    with pytest.raises(LabError, match="the program with it"):
        terminal.shot(["false"], {}, "x", "t")


def test_a_machine_without_a_terminal_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match="apt-get install tmux"):
        terminal.shot(PROGRAM, {}, "x", "t")


@needs_tmux
def test_keys_reach_the_program() -> None:
    with terminal.terminal(["cat"], {}) as shown:
        shown.type("two words $HOME", "Enter")
        assert shown.until("(?s)two words .HOME.*two words .HOME").count("$HOME") == 2
