# SPDX-License-Identifier: Apache-2.0
"""``top``: live elephants and footprints of one machine, without any cluster.

Enters: settings, a flow source, optionally a file that names addresses. Leaves: one view per reading on stdout:
tables in place on a terminal, lines or JSON elsewhere. Guarantees: nothing is written anywhere else; ends with
status 0 on a signal, when its time is over, or when nobody reads its output any more.
"""

from __future__ import annotations

import math
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import orjson
from rich.console import Console
from rich.live import Live

from footprint.classes import ClassThresholds
from footprint.service import fail, stop_on_signals
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.link_meter import LinkMeter
from nodeagent.measuring.meter import Meter
from nodeagent.measuring.pacing import next_due
from nodeagent.node.link import Link, LinkError, find_link
from nodeagent.node.pods import LocalPod
from nodeagent.settings import TopSettings
from nodeagent.sources.base import HOST, UNATTRIBUTED, FlowSource, SourceUnavailable
from nodeagent.sources.select import open_source
from nodeagent.top import lines, pods_file, table
from nodeagent.top.neighbours import Neighbours
from nodeagent.top.notes import Warnings, hints
from nodeagent.top.view import View, build

_LARGEST_FILE: Final = 256 * 2**20
"""Bytes; a list of 5,000 pods with everything Kubernetes says of them is a tenth of this."""
_ANYWHERE: Final = (bytes(4),)
"""An owner is measured when it has an address; these two have none of their own."""
_OTHERS: Final[Mapping[str, LocalPod]] = MappingProxyType(
    {name: LocalPod(uid=name, ns="", name=name, workload="", addresses=_ANYWHERE) for name in (HOST, UNATTRIBUTED)}
)


class PodsFile:
    """The residents that a file names, read anew when it changes."""

    def __init__(self, path: Path) -> None:
        """Raises PodsFileError naming the file."""
        self._path = path
        self._seen = self._stamp()
        self.residents = self._read()

    def changed(self) -> bool:
        """Whether other residents are named now. Raises PodsFileError; those named before stay then."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return False
        self._seen = stamp
        before, self.residents = self.residents, self._read()
        return before != self.residents

    def _stamp(self) -> tuple[int, int, int] | None:
        """None for what can be read only once, and while the file is away."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None

    def _read(self) -> tuple[pods_file.Resident, ...]:
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST_FILE + 1)
            if len(content) > _LARGEST_FILE:
                raise pods_file.PodsFileError(f"more than {_LARGEST_FILE >> 20} MiB are no list of pods")
            return pods_file.parse(content.decode("utf-8-sig"))
        except OSError as error:
            raise pods_file.PodsFileError(f"{self._path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise pods_file.PodsFileError(f"{self._path}: not UTF-8 text (byte {error.start})") from error
        except pods_file.PodsFileError as error:
            raise pods_file.PodsFileError(f"{self._path}: {error}") from error


class Named(Protocol):
    """Who says who lives here."""

    residents: tuple[pods_file.Resident, ...]

    def changed(self) -> bool:
        """Whether others are named now. Raises PodsFileError; those named before stay then."""


class NamedPods:
    """What ``Named`` says, as the meter asks for it: an error becomes a warning, and the names before stay."""

    def __init__(self, named: Named | None, warnings: Warnings) -> None:
        self._named, self._warnings = named, warnings

    def changed(self) -> bool:
        try:
            return self._named is not None and self._named.changed()
        except pods_file.PodsFileError as error:
            self._warnings.add(f"{error}; the names read before stay")
            return False

    def living_here(self, node: frozenset[bytes]) -> Mapping[str, LocalPod]:
        residents = self._named.residents if self._named else ()
        here = pods_file.living_here(residents, node)
        if residents and not here:
            self._warnings.add("none of the pods in --pods runs on this machine, by their status.hostIP")
        return {pod.uid: pod for pod in here}


class Viewer:
    """Readings → views. Raises LinkError."""

    def __init__(
        self,
        source: FlowSource,
        *,
        named: Named | None,
        find_link: Callable[[], Link],
        thresholds: ClassThresholds,
        warnings: Warnings,
    ) -> None:
        self._warnings = warnings
        node = Aggregator(source.name, retention=0, thresholds=thresholds)
        self._meter = Meter(source, pods=NamedPods(named, warnings), aggregator=node, find_link=find_link)
        # In the form of pods, so that they have elephants, flows, mice and a class as well.
        self._others = Aggregator(source.name, retention=0, thresholds=thresholds)
        self._link_meter = LinkMeter()

    def tick(self, now: float) -> View | None:
        """One reading at monotonic ``now``; None while there are too few for a rate. Raises SourceUnavailable."""
        found, coverage = self._meter.measure(now), self._meter.coverage
        reading, link = found.reading, found.link
        others = self._others.advance(reading, _OTHERS, link.capacity)
        used = self._link_meter.advance(link.interface, found.counters, reading.taken_at)
        if found.footprint is None or others is None:
            return None
        notes = hints(reading, interface=link.interface, capacity=link.capacity, low_coverage=coverage.low)
        return build(
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), reading=reading, node=found.footprint,
            others=others, pods=found.pods, link=link, used=used, coverage=coverage.ratio,
            notes=(*self._warnings.texts, *notes),
        )  # fmt: skip


class Output(Protocol):
    """Where views go."""

    def show(self, view: View) -> None: ...
    def close(self) -> None: ...


class TerminalOutput:
    """Tables, refreshed in place; the last ones stay when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live("measuring ...", console=console, auto_refresh=False)
        self._live.start(refresh=True)

    def show(self, view: View) -> None:
        self._live.update(table.render(view, self._console.width, self._console.height), refresh=True)

    def close(self) -> None:
        self._live.stop()


class LineOutput:
    """Appended lines, each reading complete when the next one is taken."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._notes: tuple[str, ...] = ()

    def show(self, view: View) -> None:
        if self._as_json:
            print(orjson.dumps(lines.as_json(view)).decode(), flush=True)
            return
        print("\n".join(lines.text_lines(view, self._notes)), flush=True)
        self._notes = view.notes

    def close(self) -> None:
        """Nothing is held back."""


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
            source, named=named, find_link=lambda: find_link(settings.uplink, settings.link_capacity),
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
        return Neighbours(lambda: find_link(settings.uplink, settings.link_capacity).interface)
    return PodsFile(settings.pods) if settings.pods else None


def _open(settings: TopSettings) -> FlowSource:
    try:
        # Nothing outlives this process: an agent on the same machine keeps its own program.
        return open_source(
            settings.source, settings.flow_thresholds(), compile_timeout=settings.compile_timeout, outlive=False
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
