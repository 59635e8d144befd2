# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from footprint.commands import BadSettingError
from nodeagent.settings import TopSettings, parse_top
from nodeagent.sources.ebpf.source import EbpfSource
from nodeagent.top import run as watch
from nodeagent.top.view import View
from tests.nodeagent.top.test_rendering import made


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRAFFIC_FOOTPRINT_")]:
        monkeypatch.delenv(name)


def test_flags_of_watching_and_of_measuring_are_both_taken() -> None:
    settings = parse_top(
        [
            "--pods",
            "p",
            "--for",
            "5",
            "--output",
            "json",
            "--link-capacity",
            "1G",
            "--elephant-rate",
            "5M",
            "--once",
        ]
    )
    assert (settings.pods, settings.for_seconds, settings.once, settings.output) == (Path("p"), 5.0, True, "json")
    assert settings.link_capacity == 1e9
    assert settings.flow_thresholds().elephant_rate == 5e6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--for", "soon"], "--for"),
        (["--for", "1.5"], "--for is shorter than two of --poll-interval"),
        (["--output", "xml"], "--output"),
        (["--addresses", "--pods", "p"], "--addresses and --pods"),
        (["--node-name", "n1"], "--node-name"),
        (["--source", "magic"], "--source"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_its_flag(arguments: list[str], named: str) -> None:
    with pytest.raises(BadSettingError) as caught:
        parse_top(arguments)
    assert named in str(caught.value)
    assert "\n" not in f"{caught.value}{caught.value.remedy}"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in TopSettings.model_fields.items() if not field.description] == []


def test_the_agents_program_in_the_kernel_is_neither_taken_over_nor_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EbpfSource, "open", lambda _source: None)
    source = watch._open(parse_top(["--source", "ebpf"]))
    assert isinstance(source, EbpfSource)
    assert source._options.pins is None
    assert not source.keep


def test_once_ends_with_the_first_picture() -> None:
    answers: list[View | None] = [None, None, made(), made()]
    shown: list[View] = []
    settings = parse_top(["--once", "--poll-interval", "0.1"])
    watch.loop(lambda _now: answers.pop(0), shown.append, settings, threading.Event())
    assert (len(shown), len(answers)) == (1, 1)


def test_a_stop_ends_the_loop_before_another_reading() -> None:
    stop, taken = threading.Event(), []

    def tick(now: float) -> None:
        taken.append(now)
        stop.set()

    watch.loop(tick, lambda _view: None, parse_top([]), stop)
    assert len(taken) == 1
