"""A cluster from a file, as the watches would have shown it: ``kubectl get nodes,pods,leases -A -o json``.

With ``,trafficfootprints`` where the cluster has them.

Enters: the file, or the same objects from an API server. Leaves: a filled ClusterState whose time stands still,
and each pod's own JSON for explanations. Guarantees: the same decoding, snapshot and verdicts as against a live
cluster. How old a heartbeat is can only be told from the file: Leases are compared with the newest one in it, so
that agents' clocks count here, unlike in a running extender.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from extender.cluster_state import ClusterState, LeaseInfo, NodeInfo
from extender.demand import DEFAULT_ELEPHANT_RATE
from extender.learning.book import Book
from extender.learning.record import KIND, Record, decode_record
from extender.pods import PodInfo, decode_pod
from extender.watches import decode_lease, decode_node
from footprint.staleness import stale_after

COMMAND: Final = "kubectl get nodes,pods,leases -A -o json"
_log = structlog.get_logger()


class StateFileError(Exception):
    """A file that is no saved cluster; the message names the remedy."""


class StoppedClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The objects in a saved List. Raises StateFileError."""
    try:
        saved = orjson.loads(path.read_bytes())
    except OSError as error:
        raise StateFileError(f"{path} cannot be read ({error.strerror}); save one with `{COMMAND}`") from error
    except orjson.JSONDecodeError as error:
        raise StateFileError(f"{path} is not JSON ({error}); save one with `{COMMAND}`") from error
    items = saved.get("items") if isinstance(saved, dict) else None
    if not isinstance(items, list):
        raise StateFileError(f"{path} holds no list of objects; save one with `{COMMAND}`")
    return [item for item in items if isinstance(item, dict)]


def _renewed(lease: Mapping[str, Any]) -> float | None:
    text = (lease.get("spec") or {}).get("renewTime")
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


class SavedCluster:
    """Objects sorted by kind. What cannot be decoded is passed over and counted in ``undecodable``."""

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self.nodes: list[NodeInfo] = []
        self.leases: list[tuple[LeaseInfo, float | None]] = []
        """Heartbeats, and when they were renewed by their agent's clock."""
        self.pods: list[PodInfo] = []
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
            self.nodes.append(decode_node(obj))
        elif kind == "Pod":
            self.pods.append(decode_pod(obj))
        elif kind == KIND:
            self.records.append(decode_record(obj))
        elif kind == "Lease" and (lease := decode_lease(obj)) is not None:
            self.leases.append((lease, _renewed(obj)))

    def fill(self, state: ClusterState, clock: StoppedClock) -> None:
        """Show everything to ``state``, whose clock ``clock`` is; it stands at 0 afterwards."""
        newest = max((at for _, at in self.leases if at is not None), default=0.0)
        for lease, at in self.leases:
            clock.now = at - newest if at is not None else 0.0
            state.put_lease(lease)
        clock.now = 0.0
        state.put_nodes(self.nodes, complete=True)
        for pod in self.pods:
            state.put_pod(pod)
        Book(state.write_down).replace(self.records)
        state.apply()

    def pod(self, namespace: str, name: str) -> PodInfo | None:
        return next((pod for pod in self.pods if (pod.ns, pod.name) == (namespace, name)), None)


def state_of(
    saved: SavedCluster, *, stale: float | None = None, default_rate: float = DEFAULT_ELEPHANT_RATE
) -> ClusterState:
    """A ClusterState of ``saved`` in which no time passes. ``stale`` is seconds, ``default_rate`` bit/s."""
    clock = StoppedClock()
    # Pods that run in a saved state have been running for an unknown time: measurement is believed at once.
    state = ClusterState(
        stale_after=stale if stale is not None else stale_after(), hold=0.0, default_rate=default_rate, clock=clock
    )
    saved.fill(state, clock)
    return state


class StateFeed:
    """Stands where the watches stand: everything is there already."""

    def __init__(self) -> None:
        self.by_resource: dict[str, Any] = {}
        self.waiting_for: list[str] = []

    def start(self) -> None:
        """Nothing follows."""

    def stop(self) -> None:
        """Nothing was followed."""
