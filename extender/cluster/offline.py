# SPDX-License-Identifier: Apache-2.0
"""A cluster from a file, as the watches would have shown it.

``kubectl get nodes,pods,leases -A -o json`` writes such a file; add ``,trafficfootprints`` where the cluster has
them.

Enters: the file, or the same objects from an API server. Leaves: a filled ClusterState whose time stands still,
and its pods by name. Guarantees: the same decoding, snapshot and verdicts as against a live cluster; an
object that cannot be read changes nothing for the others. Ages are computed from the file alone. Its Leases say
when it was saved (``saved_at``). So here the agents' clocks count, unlike in a running extender.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from os import fstat
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

import orjson
import structlog

from extender.cluster.feed import WatchCounters
from extender.cluster.labels import ZONE
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.cluster.watches import decode_lease, decode_node
from extender.model.demand import DEFAULT_ELEPHANT_RATE
from extender.model.ledger import HOLD_SECONDS, NEVER
from extender.model.pods import PodInfo, decode_pod
from extender.model.trafficfootprint import KIND, Record, decode_record
from footprint.staleness import stale_after
from footprint.text import utf8

COMMAND: Final = "kubectl get nodes,pods,leases -A -o json"
MAX_STATE: Final = 2**30
"""Bytes of a saved cluster: some 250,000 pods at 4 kB, as kubectl prints them."""

WITNESS_SECONDS: Final = stale_after()
"""Two live agents renew their Leases within a third of this."""

_MANY_DIGITS: Final = 1000
"""Far below what Python refuses to read as an integer."""

_log = structlog.get_logger()


class StateFileError(Exception):
    """A file that is no saved cluster; the message names the remedy."""


class StoppedClock:
    """Seconds that pass only when the caller moves them on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def printable(value: Any) -> Any:
    """JSON's ``value`` with lone surrogates replaced in every string, as Go does. Such text can neither be printed
    nor written as JSON again."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [printable(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    return value


def _whole(digits: str) -> int | float:
    """Of any size: no integer that we read has more digits than that."""
    return int(digits) if len(digits) < _MANY_DIGITS else float(digits)


def _loads(text: bytes) -> Any:
    """JSON, also with what only some programs read: NaN, integers of any size, halves of surrogate pairs, broken
    UTF-8. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return printable(json.loads(text.decode("utf-8-sig", "replace"), parse_int=_whole))


def _read(path: Path) -> bytes:
    """The file's bytes, and of one that is longer than ``MAX_STATE`` no more than shows it. Takes memory for what
    is there, not for what could be."""
    with path.open("rb") as file:
        if S_ISREG((status := fstat(file.fileno())).st_mode) and status.st_size <= MAX_STATE:
            return file.read()
        data = bytearray()
        while len(data) <= MAX_STATE and (chunk := file.read(2**20)):
            data += chunk
        return bytes(data)


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The objects in a saved List. Raises StateFileError."""
    try:
        data = _read(path)
    except OSError as error:
        raise StateFileError(f"{path} cannot be read ({error.strerror}); save one with `{COMMAND}`") from error
    if len(data) > MAX_STATE:
        raise StateFileError(
            f"{path} is longer than {MAX_STATE >> 20} MiB, too long for a cluster; see `{COMMAND}`"
        )
    text = utf8(data)
    try:
        saved = _loads(text)
    except (ValueError, RecursionError) as error:
        raise StateFileError(f"{path} is not JSON ({error}); save one with `{COMMAND}`") from error
    items = saved.get("items") if isinstance(saved, dict) else None
    if not isinstance(items, list):
        raise StateFileError(f"{path} holds no list of objects; save one with `{COMMAND}`")
    return [item for item in items if isinstance(item, dict)]


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def saved_at(renewals: Iterable[float]) -> float | None:
    """When a cluster was saved, seconds since 1970: the newest renewal that another Lease confirms.

    A renewal is confirmed by another one at most ``WITNESS_SECONDS`` older. So one clock that is ahead makes no
    other node stale. Where no renewal is confirmed, the newest stands; None: there is no Lease.
    """
    newest_first = sorted(renewals, reverse=True)
    confirmed = (late for late, early in pairwise(newest_first) if late - early <= WITNESS_SECONDS)
    return next(confirmed, newest_first[0] if newest_first else None)


def _renewed(lease: Mapping[str, Any]) -> float | None:
    return _moment((lease.get("spec") or {}).get("renewTime"))


def _since(pod: Mapping[str, Any], running: bool) -> float | None:
    """When a pod began to run, or to wait; None when that is unknown."""
    try:
        if not running:
            return _moment(pod["metadata"].get("creationTimestamp"))
        status = pod["status"]
        states = [container.get("state") or {} for container in status.get("containerStatuses") or ()]
        started = [_moment((state.get("running") or {}).get("startedAt")) for state in states]
        return min((at for at in started if at is not None), default=_moment(status.get("startTime")))
    except (AttributeError, KeyError, TypeError):  # of any shape
        return None


def _decode_node(obj: Mapping[str, Any], group_label: str) -> NodeInfo:
    """Like a watch's, for what no API server would send."""
    node = decode_node(obj, group_label)
    if not (isinstance(node.name, str) and node.name):
        raise ValueError("a node without metadata.name")
    # What is no string is no footprint: the empty one counts as malformed.
    if node.annotation is None or isinstance(node.annotation, str):
        return node
    return NodeInfo(node.name, "", node.group)


class SavedCluster:
    """Objects sorted by kind. What cannot be decoded is passed over and counted in ``undecodable``. Without
    ``learn`` TrafficFootprints are ignored."""

    def __init__(
        self, objects: Iterable[Mapping[str, Any]], *, learn: bool = True, group_label: str = ZONE
    ) -> None:  # fmt: skip
        self._learn, self._group_label = learn, group_label
        self.nodes: list[NodeInfo] = []
        self.leases: list[tuple[LeaseInfo, float | None]] = []
        """Heartbeats, and when they were renewed by their agent's clock."""
        self.renewals: list[float] = []
        """When Leases of any kind were renewed: kubelets and schedulers confirm the agents' clocks."""
        self.pods: list[PodInfo] = []
        self._since: dict[str, float | None] = {}
        """Pod UID → when it began to run, or to wait, by the cluster's clocks."""
        self.records: list[Record] = []
        self.undecodable = 0
        for obj in objects:
            try:
                self._take(obj)
            except Exception as error:  # one strange object must not hide the others
                self.undecodable += 1
                _log.warning("object passed over", kind=obj.get("kind"), problem=str(error))

    def _take(self, obj: Mapping[str, Any]) -> None:
        kind = obj.get("kind")
        if kind == "Node":
            self.nodes.append(_decode_node(obj, self._group_label))
        elif kind == "Pod":
            pod = decode_pod(obj)
            self._since[pod.uid] = _since(obj, pod.running)
            self.pods.append(pod)
        elif kind == KIND and self._learn:
            self.records.append(decode_record(obj))
        elif kind == "Lease":
            renewed = _renewed(obj)
            if renewed is not None:
                self.renewals.append(renewed)
            if (lease := decode_lease(obj)) is not None:
                self.leases.append((lease, renewed))

    def fill(self, state: ClusterState, clock: StoppedClock) -> None:
        """Show everything to ``state``, whose clock ``clock`` is; it stands at 0 afterwards."""
        now = saved_at(self.renewals)

        def ago(at: float | None, unknown: float) -> float:
            return min(at - now, 0.0) if at is not None and now is not None else unknown

        for lease, at in self.leases:
            clock.now = ago(at, 0.0)
            state.put_lease(lease)
        for pod in self.pods:
            # A running pod without a start time was measured long ago; a waiting one came just now.
            clock.now = ago(self._since[pod.uid], -NEVER if pod.running else 0.0)
            state.put_pod(pod)
        clock.now = 0.0
        state.put_nodes(self.nodes)
        TrafficFootprintIndex(state.put_records).replace(self.records)
        state.apply()

    def pod(self, namespace: str, name: str) -> PodInfo | None:
        return next((pod for pod in self.pods if (pod.ns, pod.name) == (namespace, name)), None)


def state_of(
    saved: SavedCluster, *, stale: float | None = None, default_rate: float = DEFAULT_ELEPHANT_RATE,
    hold: float = HOLD_SECONDS, assumption_clock: Callable[[], float] = time.monotonic,
) -> ClusterState:  # fmt: skip
    """A ClusterState of ``saved`` in which no time passes, except for assumed pods. ``stale`` and ``hold`` are
    seconds, ``default_rate`` bit/s."""
    clock = StoppedClock()
    state = ClusterState(
        stale_after=stale if stale is not None else stale_after(),
        hold=hold,
        default_rate=default_rate,
        clock=clock,
        assumption_clock=assumption_clock,
    )
    saved.fill(state, clock)
    return state


class StateFeed:
    """Stands where the watches stand: everything is there already.

    ``state`` is the one that is served: its thread ends assumed pods in time. None: the state is not served.
    """

    def __init__(self, state: ClusterState | None = None) -> None:
        self._state = state
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.by_resource: dict[str, WatchCounters] = {}
        self.waiting_for: list[str] = []

    def start(self) -> None:
        """Begin to let assumptions expire."""
        if self._state is not None:
            self._thread = threading.Thread(
                target=self._state.run, args=(self._stop,), name="snapshot", daemon=True
            )
            self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread; waits at most ``timeout`` seconds for it."""
        self._stop.set()
        if self._state is not None and self._thread is not None:
            self._state.wake()
            self._thread.join(timeout)
