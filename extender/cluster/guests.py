# SPDX-License-Identifier: Apache-2.0
"""Virtual machines that several pods run in turn: before, during and after a live migration.

Enters: pods of virtual machines as they come, end and go. Leaves: which of them wait for their guests, which one
stands for the machine, and whose measurements count twice. Guarantees: a machine with one pod costs a dictionary
entry; at most ``MOST`` machines with several are remembered, each until nothing shows the others. Used under its
owner's lock.

A machine counts once. It counts by the pod that its guest runs in, and by an earlier one until that pod was
measured to be busy. A pod that waits for its guest never counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from extender.model.pods import PodInfo
from footprint.classes import TrafficClass

MOST: Final = 4096
"""Machines with several pods, of which all but one may be gone: footprints show ended pods for a while. Those that
changed longest ago are forgotten first."""
_EACH: Final = 8
"""Pods remembered of one machine, which may migrate as often as it likes."""

_Key = tuple[str, str]
_Pods = dict[str, PodInfo]
Measured = Callable[[PodInfo], TrafficClass | None]
"""The class that fresh data gives a pod; None: it is in none."""


def _alive(pod: PodInfo) -> bool:
    return not pod.ended


def waiting_for_guest(pods: Iterable[PodInfo]) -> set[str]:
    """UIDs of those pods of one machine that wait for their guest. KubeVirt says when it has arrived; it is there
    as well once no other pod is left that it could run in."""
    living = [pod for pod in pods if _alive(pod)]
    elsewhere = any(pod.guest is not None and pod.guest.arrived for pod in living)
    return {pod.uid for pod in living if pod.guest is not None and not pod.guest.arrived} if elsewhere else set()


def counting(pods: Iterable[PodInfo], measured: Measured) -> str:
    """UID of the pod of one machine by which it counts; empty: none does."""
    known = list(pods)
    waiting = waiting_for_guest(known)
    classes = {pod.uid: measured(pod) for pod in known if pod.uid not in waiting}

    def rank(pod: PodInfo) -> tuple[bool, str, str]:
        cls = classes[pod.uid]
        return cls is not None and (cls.hurts or cls.suffers), pod.created, pod.uid

    seen = [pod for pod in known if classes.get(pod.uid) not in (None, TrafficClass.UNKNOWN)]
    return max(seen, key=rank).uid if seen else ""


class Guests:
    """See the module."""

    def __init__(self) -> None:
        self._alone: dict[_Key, PodInfo] = {}
        self._several: OrderedDict[_Key, _Pods] = OrderedDict()
        self._by_node: dict[str, set[_Key]] = {}
        """Machines with several pods, by the nodes of these."""
        self.incoming: set[str] = set()
        """UIDs of pods that wait for their guests."""

    def put(self, pod: PodInfo) -> list[PodInfo]:
        """Take in a pod as it is; all pods of its machine where there are several, as they were last seen."""
        if (key := machine_of(pod)) is None:
            return []
        if key in self._several:
            pods = self._take(key)
        else:
            before = self._alone.get(key)
            if before is None or before.uid == pod.uid:
                self._alone[key] = pod
                return []
            pods = {before.uid: self._alone.pop(key)}
        pods[pod.uid] = pod
        self._keep(key, pods)
        return list(pods.values())

    def drop(self, pod: PodInfo) -> list[PodInfo]:
        """The Pod object is gone; footprints may show it for a while. Returns as ``put``."""
        if (key := machine_of(pod)) is None:
            return []
        if key in self._several:
            return self.put(replace(pod, phase="Succeeded"))
        if (alone := self._alone.get(key)) is not None and alone.uid == pod.uid:
            del self._alone[key]
        return []

    def leave(self, pod: PodInfo) -> list[PodInfo]:
        """The pod, as it was, says that it runs another machine's guest, or none. Returns the pods that stay."""
        if (key := machine_of(pod)) is None or key not in self._several:
            return self.drop(pod)
        pods = self._take(key)
        pods.pop(pod.uid, None)
        if pods:
            self._keep(key, pods)
        return list(pods.values())

    def forget(self, node: str, unseen: Callable[[PodInfo], bool]) -> None:
        """Forget pods of ``node`` that have ended and are ``unseen``: neither the API nor fresh data shows them.
        Else every machine that ever migrated would be weighed again whenever one of its nodes changes."""
        for key in list(self._on((node,))):
            pods = self._several[key]
            over = [pod.uid for pod in pods.values() if pod.node == node and not _alive(pod) and unseen(pod)]
            if not over:
                continue
            self._take(key)
            for uid in over:
                del pods[uid]
            if len(pods) == 1 and all(map(_alive, pods.values())):
                self._alone[key] = next(iter(pods.values()))
            elif pods:
                self._keep(key, pods)

    def partners(self, nodes: Iterable[str]) -> set[str]:
        """Nodes of whose pods it may depend on ``nodes`` whether they count."""
        return {pod.node for key in self._on(nodes) for pod in self._several[key].values() if pod.node}

    def twice(self, node: str, measured: Measured) -> set[str]:
        """UIDs of pods of ``node`` whose machines count by another pod, or do not count yet."""
        found = set()
        for key in self._on((node,)):
            pods = self._several[key].values()
            counts = counting(pods, measured)
            found |= {pod.uid for pod in pods if pod.node == node and pod.uid != counts}
        return found

    def _on(self, nodes: Iterable[str]) -> Iterator[_Key]:
        for node in nodes:
            yield from self._by_node.get(node, ())

    def _keep(self, key: _Key, pods: _Pods) -> None:
        while len(pods) > _EACH:
            oldest = min(pods.values(), key=lambda pod: (_alive(pod), pod.created))
            del pods[oldest.uid]
        self._several[key] = pods
        for pod in pods.values():
            if pod.node:
                self._by_node.setdefault(pod.node, set()).add(key)
        self.incoming |= waiting_for_guest(pods.values())
        if len(self._several) > MOST:
            self._forget()

    def _forget(self) -> None:
        """Rather one that does not migrate now."""
        settled = (key for key, pods in self._several.items() if sum(map(_alive, pods.values())) < 2)
        self._take(next(settled, next(iter(self._several))))

    def _take(self, key: _Key) -> _Pods:
        """The pods of a machine with several, which is not listed any more."""
        pods = self._several.pop(key)
        self.incoming -= pods.keys()
        for node in {pod.node for pod in pods.values() if pod.node}:
            if (keys := self._by_node.get(node)) is not None:
                keys.discard(key)
                if not keys:
                    del self._by_node[node]
        return pods


def machine_of(pod: PodInfo) -> tuple[str, str] | None:
    """Namespace of the machine whose guest the pod runs, and the UID of the machine; None: it runs none."""
    return None if pod.guest is None else (pod.ns, pod.guest.uid)


def standing_for(pods: Iterable[PodInfo]) -> PodInfo | None:
    """The living pod that stands for a machine while it is counted by pods and not by what is measured of them."""
    living = [pod for pod in pods if _alive(pod)]
    waiting = waiting_for_guest(living)
    return max(living, key=lambda pod: (pod.uid not in waiting, pod.created, pod.uid), default=None)
