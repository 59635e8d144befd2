# SPDX-License-Identifier: Apache-2.0
"""Values for learning's tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extender.model.profile import Profile, Rates
from extender.model.trafficfootprint import Record
from extender.model.trafficfootprint_name import object_name
from footprint.classes import TrafficClass
from footprint.cluster.client import ApiError
from footprint.declared import Declared
from tests.extender.builders import M

NOW = 1_800_000_000.0
BACKUP = ("shop", "CronJob/backup")
WEB = ("shop", "Deployment/web")


def profile(rate: float = 150 * M, samples: int = 10, cls: TrafficClass = TrafficClass.ELEPHANT) -> Profile:
    """A workload that sends ``rate`` bit/s."""
    hurts = cls.hurts
    return Profile(
        samples, cls, samples, float(hurts), float(cls.suffers), Rates(rate, rate) if hurts else Rates(),
        Rates(), 1.0 if cls.suffers else 0.0,
    )  # fmt: skip


def record(
    key: tuple[str, str] = BACKUP, written: Profile | None = None, seen: float = NOW, **values: Any
) -> Record:
    """An object of the learner's own making, last seen at ``seen``; ``written`` None: without a status."""
    ns, workload = key
    name = values.pop("name", object_name(workload))
    defaults = {
        "uid": f"uid-{name}", "version": "1", "workload": workload, "profile": written, "ours": True,
        "created": seen, "last_seen": seen if written else None,
    }  # fmt: skip
    return Record(ns, name, **{**defaults, **values})


OVERRIDDEN = Declared(cls=TrafficClass.MOUSE)


class MemoryStore:
    """The API, as far as learning asks it: keeps what is written, and fails when told to."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.lease: dict[str, Any] | None = {"metadata": {"resourceVersion": "1"}, "spec": {}}
        self.fails: list[int] = []
        """HTTP statuses of the next requests; 0 in the place of an unreachable server, -1 for none."""
        self.asked: list[str] = []

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.fails and (status := self.fails.pop(0)) >= 0:
            raise ApiError(status, f"told to fail with {status}")

    def create(self, obj: Mapping[str, Any]) -> None:
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        self._ask(f"create {name[1]}")
        if name in self.objects:
            raise ApiError(409, "AlreadyExists")
        self.objects[name] = {
            **obj,
            "metadata": {**obj["metadata"], "uid": f"uid-{name[1]}", "resourceVersion": "1"},
        }

    def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        self._ask(f"status {name}")
        if (namespace, name) not in self.objects:
            raise ApiError(404, "NotFound")
        obj = self.objects[namespace, name]
        version = str(int(obj["metadata"]["resourceVersion"]) + 1)
        metadata = {**obj["metadata"], "resourceVersion": version}
        self.objects[namespace, name] = {**obj, "metadata": metadata, "status": dict(status)}

    def delete(self, record: Record) -> None:
        self._ask(f"delete {record.name}")
        if self.objects.pop((record.ns, record.name), None) is None:
            raise ApiError(404, "NotFound")

    def read_lease(self) -> dict[str, Any]:
        self._ask("read lease")
        if self.lease is None:
            raise ApiError(404, "NotFound")
        return self.lease

    def write_lease(self, lease: Mapping[str, Any]) -> None:
        self._ask("write lease")
        if self.lease is None or lease["metadata"] != self.lease["metadata"]:
            raise ApiError(409, "Conflict")
        version = str(int(lease["metadata"]["resourceVersion"]) + 1)
        self.lease = {**lease, "metadata": {"resourceVersion": version}}

    def create_lease(self) -> dict[str, Any]:
        self._ask("create lease")
        if self.lease is not None:
            raise ApiError(409, "AlreadyExists")
        self.lease = {"metadata": {"resourceVersion": "1"}, "spec": {}}
        return self.lease
