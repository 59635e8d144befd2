# SPDX-License-Identifier: Apache-2.0
"""Each signal ends a program that inherited SIGINT as ignored, and does not cut off its cleaning up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

WAITING = """
import signal
from lab.signals import signals_end, uninterrupted
try:
    with signals_end():
        try:
            print("ready", flush=True)
            signal.pause()
        finally:
            with uninterrupted():
                print("cleaning", flush=True)
                input()
                print("clean", flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", ["INT", "USR2"])
def test_each_signal_unwinds_once_and_cleaning_up_is_not_cut_off(number: signal.Signals, ignored: str) -> None:
    fresh = ["env", "--default-signal"]  # these tests themselves may run under nohup
    argv = [*fresh, "sh", "-c", f'trap "" {ignored}; exec "$@"', "sh", sys.executable, "-c", WAITING]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdin=-1, stdout=-1, stderr=-1, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        assert program.stdout.readline() == "cleaning\n"
        for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            program.send_signal(again)
        out, err = program.communicate("\n")
    assert err == ""
    interrupted = number == signal.SIGINT
    assert out == ("clean\ninterrupted\n" if interrupted else "clean\n")
    assert program.returncode == (0 if interrupted else 128 + number)


def test_nohup_is_respected() -> None:
    told = (
        "import signal, os\nfrom lab.signals import signals_end\nwith signals_end():\n os.kill(os.getpid(), 1)\n"
    )
    argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", told + "print('alive')"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
