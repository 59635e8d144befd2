# SPDX-License-Identifier: Apache-2.0
"""``top`` on a terminal: a pseudo-terminal and an emulator that reads what was drawn."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from plugin.cli import main
from tests.extender.builders import M, annotation, elephant, mouse, node_json
from tests.plugin.api_server import by_path, kubeconfig, serving

CHECKOUT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0
NODES = [
    {"kind": "Node", **node_json("a", annotation(elephant("big", ns="shop"), mouse("small", ns="web")))},
    {"kind": "Node", **node_json("b", annotation(elephant("middle", tx=40 * M, ns="shop")))},
]


class Terminal:
    """A program on a terminal of 110 columns and 12 lines."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._screen = pyte.Screen(110, 12)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = os.openpty()
        self.raw = b""
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 110, 0, 0))
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, cwd=CHECKOUT, env=environment, start_new_session=True
        )
        os.close(slave)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)
        self.process.send_signal(28)  # SIGWINCH, as a terminal's own process gets it

    def shows(self, wanted: Callable[[list[str]], bool], what: str) -> list[str]:
        """The screen's lines once they are as ``wanted``."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            lines = [line.rstrip() for line in self._screen.display]
            if wanted(lines):
                return lines
            if select.select([self._master], [], [], 0.2)[0]:
                try:
                    data = os.read(self._master, 2**16)
                except OSError:  # the program has ended
                    break
                self.raw += data
                self._stream.feed(data)
        raise AssertionError(f"{what}; the screen is\n" + "\n".join(self._screen.display))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextmanager
def top(config: Path, *flags: str, **environment: str) -> Iterator[Terminal]:
    program = [sys.executable, "-c", "from plugin.cli import main; raise SystemExit(main())", "top"]
    given = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    terminal = Terminal(
        [*program, "--kubeconfig", str(config), *flags], {**given, "TERM": "xterm-256color", **environment}
    )
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    with serving(by_path(NODES)) as (port, _):
        yield kubeconfig(tmp_path / "config", port)


def pods(lines: list[str]) -> list[str]:
    """Names in the second column, below the head."""
    return [line.split()[1] for line in lines[3:-1] if len(line.split()) > 1]


def test_a_person_looks_sorts_filters_and_leaves(config: Path) -> None:
    with top(config) as terminal:
        terminal.shows(
            lambda lines: (
                pods(lines) == ["big", "middle", "small"]
                and lines[1] == "3 pods, by elephant traffic"
                and lines[-1].startswith("p pods  n nodes")  # drawn last, and may arrive in a read of its own
            ),
            "elephants first, below what they are sorted by, above the keys",
        )
        assert b"\x1b[31m" in terminal.raw, "elephants are red"
        terminal.press("r")
        terminal.shows(lambda lines: pods(lines) == ["small", "middle", "big"], "reversed")
        terminal.press("r/mid\n")
        terminal.shows(lambda lines: lines[1] == "1 pods, by elephant traffic, with 'mid'", "filtered")
        terminal.press("n")
        terminal.press("\x1b")
        terminal.shows(lambda lines: lines[3].startswith("a     ########## 95 %"), "nodes with a bar")
        terminal.press("h")
        terminal.shows(lambda lines: lines[0] == "Keys", "help")
        terminal.press("xq")
        assert terminal.process.wait(PATIENCE_SECONDS) == 0


def test_a_terminal_may_become_smaller(config: Path) -> None:
    with top(config, NO_COLOR="1") as terminal:
        terminal.shows(lambda lines: len(pods(lines)) == 3, "three pods")
        assert b"\x1b[31m" not in terminal.raw
        terminal.resize(6, 40)
        terminal.shows(
            lambda lines: len(lines) == 6 and lines[-1].startswith("p pods"), "the last line is the keys"
        )
        terminal.press("q")
        assert terminal.process.wait(PATIENCE_SECONDS) == 0


def test_without_a_screen_it_is_one_table(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    assert main(["top", "--kubeconfig", str(config), "-n", "shop"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["NAMESPACE", "POD", "NODE"]
    assert [row.split()[1] for row in rows] == ["big", "middle"]
    assert main(["top", "--kubeconfig", str(config), "--nodes", "--no-headers", "--sort-by", "node"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == ["a", "b"]


def test_a_terminal_that_cannot_be_drawn_on_is_one_line(config: Path) -> None:
    with top(config, TERM="nonsense") as terminal:
        lines = terminal.shows(lambda lines: "error: " in lines[0], "an error")
        assert "this terminal cannot be drawn on" in " ".join(lines)
        assert terminal.process.wait(PATIENCE_SECONDS) == 2


def test_what_cannot_work_is_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    with serving({"/api/v1/nodes": 403}) as (port, _), top(kubeconfig(tmp_path / "config", port)) as terminal:
        lines = terminal.shows(lambda lines: "error: " in lines[0], "an error")
        assert "can-i list nodes" in "".join(lines)
        assert terminal.process.wait(PATIENCE_SECONDS) == 2
