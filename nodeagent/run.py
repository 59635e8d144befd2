# SPDX-License-Identifier: Apache-2.0
"""The composition root: builds the agent's parts from its settings, runs them, and stops them.

Enters: ``AgentSettings``. Leaves: the exit status: 0 after a stop by signal, 1 when measuring could not go on. A
problem that the operator can mend before measuring begins ends the program with status 2
and one line with the remedy.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.classes import ClassThresholds
from footprint.cluster.client import ApiError, ClusterConfigError, connect, request
from footprint.cluster.reflector import Reflector
from footprint.codec import FootprintError, decode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import NodeFootprint, PodFootprint
from footprint.service import configure_logging, fail, stop_on_signals
from nodeagent.agent import Agent
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.metrics import AgentCollector, LoopState, new_crossings, new_registry
from nodeagent.metrics_port import MetricsPort
from nodeagent.node.capacity.links import LinkCapacities
from nodeagent.node.capacity.stated import parse_table
from nodeagent.node.link import Link, LinkError
from nodeagent.node.pods import LocalPod, PodStore, decode_pod, pods_path, pods_query
from nodeagent.node.steering import described, read_steering
from nodeagent.node.uplinks.finding import find_uplinks
from nodeagent.publishing.decide import WritePolicy
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.handover import ASKING, Handover, is_followed
from nodeagent.publishing.heartbeat import Heartbeat
from nodeagent.publishing.node_metadata import NodeMetadata
from nodeagent.publishing.node_writer import (
    NodeProblemError,
    NodeWriter,
    node_path,
    read_metadata,
    read_node,
)
from nodeagent.settings import PROGRAM, AgentSettings
from nodeagent.sources.base import FlowSource, SourceUnavailable
from nodeagent.sources.select import AUTO, open_source
from nodeagent.tuning.document import document
from nodeagent.tuning.journal_file import FOLDER
from nodeagent.tuning.modes import Mode
from nodeagent.tuning.part import PriorityPart
from nodeagent.tuning.tuner import Tuner
from nodeagent.tuning.untune import take_back

_FIRST_SYNC: Final = 3.0
"""Seconds to wait for the pods before measuring starts without them."""

_log = structlog.get_logger()


def run(settings: AgentSettings) -> int:
    """Measure until a signal; the exit status."""
    configure_logging(settings.log_format, settings.log_level)
    stop = stop_on_signals()
    api = _connect(settings)
    link = _first_link(settings)
    figures = LoopState()
    registry, durations = new_registry()
    tuner = _tune(settings)
    figures.tuning = None if tuner is None else tuner.state
    server = _serve(settings, registry, figures)
    earlier = _check_node(api, settings.node_name)
    source = _open_source(settings)
    _say_steering(settings, link)
    figures.source = source.name
    threads = _Threads(settings, api, figures, earlier, link, told=new_crossings(registry).observe)
    registry.register(threads.collector())
    agent = Agent(
        source=source, store=threads.store, synced=threads.pods.synced, writer=threads.writer,
        reporter=threads.reporter, aggregator=_aggregator(settings, source.name, earlier.ended),
        policy=_policy(settings), find_link=partial(_look_for_link, settings), capacities=threads.capacities,
        figures=figures, durations=durations, poll_interval=settings.poll_interval, tuner=tuner,
    )  # fmt: skip
    _log.info(
        "measuring", node=settings.node_name, source=source.name, uplinks=[one.interface for one in link.all],
        capacity=link.capacity.tx, poll_interval=settings.poll_interval,
        metrics_port=server.port if server else 0,
    )  # fmt: skip
    threads.start(stop)
    if tuner:
        tuner.start()
    _wait_for_pods(threads.pods.synced, stop)
    gc.collect()
    gc.freeze()  # 60,000 objects that stay: no later collection looks through them
    with ExitStack() as ending:  # the last one first, and all of them whatever one raises
        if server:
            ending.callback(server.close)
        if tuner:
            ending.callback(tuner.close)
        ending.callback(source.close)
        ending.callback(threads.pods.interrupt)
        ending.callback(stop.set)
        return _measure(agent, source, _expect_handover(source, settings, api, stop), stop)


def _measure(agent: Agent, source: FlowSource, handover: Handover | None, stop: threading.Event) -> int:
    """The exit status, after the order to end or when the source cannot go on."""
    try:
        agent.run(stop)
        _leave_program(source, handover)
    except SourceUnavailable as error:
        _log.error("measuring cannot go on", error=str(error))
        return 1
    return 0


class _Threads:
    """What talks to the API server beside the measuring loop, each in a thread of its own."""

    def __init__(
        self,
        settings: AgentSettings,
        api: ApiClient,
        figures: LoopState,
        earlier: _Earlier,
        link: Link,
        *,
        told: Callable[[float], None],
    ) -> None:
        node = settings.node_name
        self.metadata = NodeMetadata(partial(read_metadata, api, node), earlier.metadata)
        self.capacities = _capacities(settings, self.metadata, earlier.footprint, link)
        self._figures = figures
        self.store = PodStore()
        self.pods: Reflector[LocalPod] = Reflector(
            api, pods_path(), decode=decode_pod, sink=self.store, query=pods_query(node)
        )
        self.writer = NodeWriter(api, node, told=told)
        self._pod_metrics = settings.pod_metrics
        self.reporter = EventReporter(api, node, uid=str(earlier.metadata.get("uid") or ""))

        def may_renew() -> bool:
            return figures.measuring(settings.poll_interval) and self.writer.pending_age() < settings.lease_renew

        self._heart = Heartbeat(
            api, node=node, namespace=settings.namespace, renew=settings.lease_renew, may_renew=may_renew
        )

    def start(self, stop: threading.Event) -> None:
        """Start all; ``stop`` ends the pod watch and the heartbeat."""
        self.pods.start(stop)
        self.writer.start()
        self.reporter.start()
        self.metadata.start(stop)
        self._heart.start(self.writer.published, stop)

    def collector(self) -> AgentCollector:
        """The agent's metrics: the loop's figures and these threads' counters."""
        return AgentCollector(
            self._figures, self._counters, gauges=lambda: {"write_pending_seconds": self.writer.pending_age()},
            watches={"pods": self.pods}, pods=self._pod_metrics,
        )  # fmt: skip

    def _counters(self) -> dict[str, float]:
        return {
            "node_writes": self.writer.writes,
            "node_write_failures": self.writer.errors,
            "lease_renewals": self._heart.renewals,
            "lease_failures": self._heart.errors,
            "lease_withheld": self._heart.withheld,
            "annotation_problems": self.reporter.problems,
            "event_failures": self.reporter.errors,
            "link_capacity_problems": self.capacities.problems,
            "node_read_failures": self.metadata.errors,
        }


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What the Node said when this agent began."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    footprint: NodeFootprint | None = None
    """An earlier agent's."""

    @property
    def ended(self) -> tuple[PodFootprint, ...]:
        return self.footprint.ended if self.footprint else ()


def _capacities(
    settings: AgentSettings, node: NodeMetadata, before: NodeFootprint | None, link: Link
) -> LinkCapacities:
    """With what an earlier agent had learned."""
    found = LinkCapacities(
        flag=settings.link_capacity, table=parse_table(settings.link_capacity_by_instance_type),
        assumed=settings.link_capacity_assumed or None, node=node.current,
    )  # fmt: skip
    if before is not None:
        found.restore(link.interface or "", before)
    return found


def _aggregator(settings: AgentSettings, source: str, taught: tuple[PodFootprint, ...]) -> Aggregator:
    """With the ended pods that an earlier agent published."""
    found = Aggregator(
        source, retention=settings.retention, thresholds=ClassThresholds(elephant_rate=settings.elephant_rate)
    )
    found.restore(taught, now=time.monotonic())
    return found


def _connect(settings: AgentSettings) -> ApiClient:
    try:
        return connect(settings.kubeconfig, user_agent=PROGRAM)
    except ClusterConfigError as error:
        fail(str(error))


def _look_for_link(settings: AgentSettings) -> Link:
    return find_uplinks(settings.uplink, settings.link_capacity)


def _first_link(settings: AgentSettings) -> Link:
    try:
        link = _look_for_link(settings)
    except LinkError as error:
        fail(str(error), "give --uplink one of the names that `ip -br link` prints")
    if link.interface is None:
        _log.warning(
            "no default route, so the uplink is unknown and coverage is not measured; name it with --uplink"
        )
    if link.capacity.busier == 0:
        _log.warning(
            "no driver states the link's capacity: where nobody states it, it is learned when the link is full; "
            "state it with the Node's annotation traffic-footprint.io/link-capacity, or with --link-capacity 10G",
            uplink=link.interface,
        )
    return link


def _serve(settings: AgentSettings, registry: Any, figures: LoopState) -> MetricsPort | None:
    if settings.metrics_port == 0:
        return None
    where = f"{settings.metrics_host}:{settings.metrics_port}"
    try:
        return MetricsPort(
            registry, settings.metrics_host, settings.metrics_port,
            alive=lambda: figures.alive(settings.poll_interval),
            ready=lambda: figures.measuring(settings.poll_interval),
            documents={} if figures.tuning is None else {"/tuning": partial(document, figures.tuning)},
        )  # fmt: skip
    except OSError as error:
        fail(
            f"cannot serve metrics on {where}: {error.strerror or error}",
            "choose another with --metrics-port (0: none) or --metrics-host",
        )


def _tune(settings: AgentSettings) -> Tuner | None:
    """What tunes beside the loop; None where nothing is to be tuned. What an agent that crashed has tuned is taken
    back in any case."""
    options = settings.priority_options()
    if options.mode is not Mode.APPLY:
        found = take_back(FOLDER, others_run=True)
        for line in found.lines:
            _log.info("tuning of an earlier agent", outcome=line)
        for problem in found.problems:
            _log.warning("tuning of an earlier agent is not taken back", problem=problem)
    if options.mode is Mode.OFF:
        return None

    def uplinks() -> list[str]:
        try:
            return [one.interface for one in _look_for_link(settings).all if one.interface]
        except (LinkError, OSError):
            return []

    return Tuner(PriorityPart(options, FOLDER, uplinks))


def _check_node(api: ApiClient, node: str) -> _Earlier:
    """What the Node states, and what an earlier agent published on it.

    Ends the program when the Node does not exist. An API server that does not respond only delays publishing.
    """
    metadata: Mapping[str, Any] = {}
    try:
        metadata = read_node(api, node)["metadata"]
        annotations = metadata.get("annotations") or {}
        return _Earlier(metadata, decode(annotations[NODE_FOOTPRINT]) if NODE_FOOTPRINT in annotations else None)
    except NodeProblemError as error:
        fail(str(error), error.remedy)
    except ApiError as error:
        _log.warning("Node not read, measuring starts without it", node=node, error=str(error))
    except FootprintError as error:
        _log.warning("an earlier agent's annotation cannot be read, replacing it", error=str(error))
    return _Earlier(metadata)


def _open_source(settings: AgentSettings) -> FlowSource:
    try:
        return open_source(
            settings.source,
            settings.flow_thresholds(),
            compile_timeout=settings.compile_timeout,
            outlive=True,
            cgroup=settings.cgroup_root,
        )
    except SourceUnavailable as error:
        fail(str(error))


def _say_steering(settings: AgentSettings, link: Link) -> None:
    """With ``auto``, say before the coverage does why the source may have to be changed."""
    if settings.source != AUTO:
        return
    try:
        found = described(read_steering(one.interface for one in link.all if one.interface))
    except OSError as error:
        _log.info("it cannot be told whether programs send packets past conntrack", error=str(error))
        return
    if found:
        _log.warning(
            "programs at the pods' devices or the uplinks may send packets past conntrack; "
            "where the coverage shows that, sockets are counted instead",
            programs=found,
        )  # fmt: skip


def _expect_handover(
    source: FlowSource, settings: AgentSettings, api: ApiClient, stop: threading.Event
) -> Handover | None:
    """What finds out whether another agent follows; None where there is nothing to take over."""
    if not (source.pinned and settings.keep_program and not settings.kubeconfig):
        return None
    read_node = partial(request, api, "GET", node_path(settings.node_name), timeout=ASKING)
    return Handover(stop, partial(is_followed, read_node))


def _leave_program(source: FlowSource, handover: Handover | None) -> None:
    """Let the program outlive this agent where another one will take it over."""
    if handover is None:
        return
    source.keep = handover.followed()
    _log.info("the program stays for a successor" if source.keep else "no successor is expected, unloading")


def _policy(settings: AgentSettings) -> WritePolicy:
    return WritePolicy(
        interval=settings.write_interval,
        hold=settings.hold,
        deadband=settings.deadband,
        elephant_rate=settings.elephant_rate,
    )


def _wait_for_pods(synced: threading.Event, stop: threading.Event) -> None:
    """Wait a moment for the first list of pods, so that the first readings know them."""
    waited = 0.0
    while not synced.wait(0.1) and not stop.is_set() and waited < _FIRST_SYNC:
        waited += 0.1
