# SPDX-License-Identifier: Apache-2.0
"""Supervision of real child processes; nothing here needs root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.processes import start, stop_all, tail


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def pid_in(path: Path) -> int:
    assert eventually(lambda: path.is_file() and path.read_text().strip().isdigit())
    return int(path.read_text())


def test_output_and_added_environment_reach_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    with start(["sh", "-c", "echo out $COLOUR; echo err >&2"], log=log, env={"COLOUR": "blue"}) as child:
        assert child.wait(20) == 0
    assert log.read_text() == "out blue\nerr\n"


def test_a_second_start_appends_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("first", "second"):
        with start(["echo", word], log=log) as child:
            child.wait(20)
    assert log.read_text() == "first\nsecond\n"


def test_a_child_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    with start(["sleep", "60"], log=tmp_path / "log") as child:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def test_stop_sends_sigterm_and_returns_the_status(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    child = start(["sh", "-c", script], log=tmp_path / "log")
    assert eventually(lambda: "up" in child.log.read_text())
    assert child.stop() == 7
    assert child.log.read_text() == "up\nbye\n"
    assert not child.running


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = start(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], log=tmp_path / "log")
    assert eventually(lambda: "up" in child.log.read_text())
    assert child.stop(grace=0.2) == -signal.SIGKILL


def test_stop_takes_what_the_child_started_along(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = start(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], log=tmp_path / "log")
    grandchild = pid_in(pid_file)
    child.stop()
    assert eventually(lambda: not alive(grandchild))


def test_stopping_twice_gives_the_same_status(tmp_path: Path) -> None:
    child = start(["sh", "-c", "exit 3"], log=tmp_path / "log")
    child.wait(20)
    assert (child.stop(), child.stop()) == (3, 3)


def test_stop_all_ends_every_child_even_a_stubborn_one(tmp_path: Path) -> None:
    stubborn = start(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], log=tmp_path / "a")
    mild = start(["sleep", "60"], log=tmp_path / "b")
    assert eventually(lambda: "up" in stubborn.log.read_text())
    stop_all([stubborn, mild], grace=0.3)
    assert (stubborn.returncode, mild.returncode) == (-signal.SIGKILL, -signal.SIGTERM)


def test_a_child_dies_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    driver = (
        "import sys, time; from pathlib import Path; from lab.processes import start\n"
        "child = start(['sleep', '300'], log=Path(sys.argv[1]))\n"
        "Path(sys.argv[2]).write_text(str(child.pid)); time.sleep(300)\n"
    )
    checkout = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", driver, tmp_path / "log", pid_file], cwd=checkout) as process:
        try:
            child = pid_in(pid_file)
            # From the moment on in which setpriv has become the program.
            assert eventually(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        finally:
            process.kill()
    assert eventually(lambda: not alive(child))


def test_wait_ready_returns_once_the_probe_is_true(tmp_path: Path) -> None:
    with start(["sh", "-c", "echo up; sleep 60"], log=tmp_path / "log") as child:
        child.wait_ready(lambda: "up" in child.log.read_text(), 20)


def test_a_child_that_ends_before_it_is_ready_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    child = start(["sh", "-c", "echo cannot bind; exit 1"], log=tmp_path / "log", name="etcd")
    with pytest.raises(LabError, match=r"(?s)etcd ended with status 1.*cannot bind"):
        child.wait_ready(lambda: False, 20)


def test_a_child_that_never_is_ready_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    with (
        start(["sh", "-c", "echo loading; sleep 60"], log=tmp_path / "log", name="etcd") as child,
        pytest.raises(LabError, match=r"(?s)etcd was not ready within 0.5 s.*loading"),
    ):
        child.wait_ready(lambda: False, 0.5)


def test_the_tail_of_a_log_says_when_there_is_nothing_to_show(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert "is empty" in tail(empty)
    assert "cannot be read" in tail(tmp_path / "absent")


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    assert tail(log, 2) == f"last lines of {log}:\n  line 98\n  line 99"
