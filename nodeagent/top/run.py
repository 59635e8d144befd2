# SPDX-License-Identifier: Apache-2.0
"""``top``: live elephants and footprints of one machine, without any cluster.

Enters: settings, a flow source, optionally a file that names addresses. Leaves: one view per reading on stdout:
tables in place on a terminal, lines or JSON elsewhere. Guarantees: nothing is written anywhere else; ends with
status 0 on a signal, when its time is over, or when its output is closed.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable

from rich.console import Console

from footprint.classes import ClassThresholds
from footprint.service import fail, stop_on_signals
from nodeagent.measuring.pacing import next_due
from nodeagent.node.link import Link, LinkError
from nodeagent.node.uplinks.finding import find_uplinks
from nodeagent.settings import TopSettings
from nodeagent.sources.base import FlowSource, SourceUnavailable
from nodeagent.sources.select import open_source
from nodeagent.top import pods_file
from nodeagent.top.names import Named, PodsFile
from nodeagent.top.neighbours import Neighbours
from nodeagent.top.notes import Warnings
from nodeagent.top.output import LineOutput, Output, TerminalOutput
from nodeagent.top.view import View
from nodeagent.top.viewer import Viewer


def run(settings: TopSettings) -> int:
    """Watch until a signal or the end of the time asked for; the exit status."""
    warnings = Warnings()
    warnings.configure()
    stop = stop_on_signals()
    try:
        named = _named(settings)
    except pods_file.PodsFileError as error:
        fail(str(error), "see `traffic-footprint-nodeagent top --help`")
    source = _open(settings)
    try:
        viewer = Viewer(
            source, named=named, find_link=lambda: _find(settings),
            thresholds=ClassThresholds(elephant_rate=settings.elephant_rate), warnings=warnings,
        )  # fmt: skip
        return _until_done(viewer, settings, stop)
    except LinkError as error:
        fail(str(error), "give --uplink one of the names that `ip -br link` prints")
    except SourceUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        source.close()


def _named(settings: TopSettings) -> Named | None:
    """Raises PodsFileError."""
    if settings.addresses:
        return Neighbours(lambda: frozenset(link.interface or "" for link in _find(settings).all))
    return PodsFile(settings.pods) if settings.pods else None


def _find(settings: TopSettings) -> Link:
    return find_uplinks(settings.uplink, settings.link_capacity)


def _open(settings: TopSettings) -> FlowSource:
    try:
        # Nothing outlives this process: an agent on the same machine keeps its own program.
        return open_source(
            settings.source,
            settings.flow_thresholds(),
            compile_timeout=settings.compile_timeout,
            outlive=False,
            cgroup=settings.cgroup_root,
        )
    except SourceUnavailable as error:
        fail(str(error))


def _until_done(viewer: Viewer, settings: TopSettings, stop: threading.Event) -> int:
    output = _output(settings)
    try:
        try:
            loop(viewer.tick, output.show, settings, stop)
        finally:
            output.close()
    except BrokenPipeError:
        # Nobody reads any more, as behind `| head`: an end like any other. Python flushes stdout once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        fail(f"the output cannot be written: {error.strerror or error}", "check where stdout leads")
    return 0


def _output(settings: TopSettings) -> Output:
    console = Console()
    if settings.output == "text" and sys.stdout.isatty() and not console.is_dumb_terminal:
        return TerminalOutput(console)
    return LineOutput(as_json=settings.output == "json")


def loop(
    tick: Callable[[float], View | None],
    show: Callable[[View], None],
    settings: TopSettings,
    stop: threading.Event,
) -> None:
    """Readings on a fixed schedule until ``stop``, the first view (``--once``) or the end of ``--for``."""
    due = time.monotonic()
    until = math.inf if settings.for_seconds is None else due + settings.for_seconds
    while due <= until and not stop.wait(max(due - time.monotonic(), 0.0)):
        view = tick(time.monotonic())
        if view is not None:
            show(view)
            if settings.once:
                return
        due, _missed = next_due(due, time.monotonic(), settings.poll_interval)
