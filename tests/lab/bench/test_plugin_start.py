# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

from lab.bench.plugin_start import COMMANDS, start
from plugin.cli import PROGRAM


def test_a_start_that_works_costs_time_of_the_processor() -> None:
    busy = start([sys.executable, "-c", "sum(range(10**7))"])
    assert busy.cpu > start([sys.executable, "-c", ""]).cpu


def test_what_is_measured_is_there() -> None:
    known = {command.name for command in PROGRAM.commands}
    helped = {" ".join(words[1:-1]) for words in COMMANDS if words[-1] == "--help"}
    assert helped - {""} <= known
