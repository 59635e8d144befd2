# SPDX-License-Identifier: Apache-2.0
"""The composition root: settings in, a serving process out.

Builds, in this order, the cluster state with its feed, the service (verbs, explanations, metrics), the application
and the server, and passes each to the next as a typed value. Every setting that cannot be used ends the program
with one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import structlog
from prometheus_client.registry import Collector

from extender.api.metrics import ServerFigures
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.feed import Feed
from extender.cluster.offline import SavedCluster, StateFeed, StateFileError, read_objects, state_of
from extender.cluster.relaxed_pods import RelaxedPods
from extender.cluster.state import ClusterState
from extender.cluster.watches import Watches
from extender.learning.feed import LearningFeed
from extender.rebalancing.config import RebalanceMode
from extender.rebalancing.feed import RebalancingFeed
from extender.serving.certificates import CertificateError, Certificates
from extender.serving.limits import Refusals
from extender.serving.server import Server, listen
from extender.serving.server_log import ForwardedLogs
from extender.settings import PROGRAM, Settings
from footprint.cluster.client import ClusterConfigError, connect
from footprint.service import configure_logging, fail, stop_on_signals
from footprint.units import parse_bandwidth

_log = structlog.get_logger()


class Source(NamedTuple):
    """What responses rest on."""

    state: ClusterState
    feed: Feed
    collectors: Sequence[Collector] = ()
    """Metrics of the feed, besides those of its watches."""
    relaxed: RelaxedPods | None = None
    """What tells of strict pods that waited too long; None without an API server."""


def source_of(settings: Settings) -> Source:
    """A saved cluster, or the API server's watches. Configures logging once no setting can be refused any more."""
    default_rate = parse_bandwidth(settings.default_elephant_bandwidth)
    if settings.state is not None:
        try:
            objects = read_objects(settings.state)
        except StateFileError as error:
            fail(f"--state {error}")
        configure_logging(settings.log_format, settings.log_level)
        saved = SavedCluster(objects, learn=settings.learn, group_label=settings.page_group_label)
        state = state_of(saved, stale=settings.stale_after, default_rate=default_rate, hold=settings.ledger_hold)
        return Source(state, StateFeed(state))
    try:
        api = connect(settings.kubeconfig, user_agent=PROGRAM)
    except ClusterConfigError as error:
        fail(str(error))
    configure_logging(settings.log_format, settings.log_level)
    state = ClusterState(stale_after=settings.stale_after, hold=settings.ledger_hold, default_rate=default_rate)
    watches = Watches(api, state, namespace=settings.namespace, group_label=settings.page_group_label)
    relaxed = RelaxedPods(api)
    feed: Feed = watches
    collectors: list[Collector] = [relaxed]
    if settings.learn:
        learning = LearningFeed(watches, state, api, namespace=settings.namespace, config=settings.learner)
        feed, collectors = learning, [*learning.collectors, *collectors]
    if settings.rebalancer.mode is not RebalanceMode.OFF:
        rebalancing = RebalancingFeed(feed, state, api, settings.rebalancer)
        feed, collectors = rebalancing, [*collectors, *rebalancing.collectors]
    return Source(state, feed, collectors, relaxed)


def _certificates(settings: Settings) -> Certificates | None:
    try:
        return Certificates(settings.tls) if settings.tls else None
    except CertificateError as error:
        fail(str(error))


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    certificates, source = _certificates(settings), source_of(settings)
    stop = stop_on_signals()
    refusals, logs = Refusals(), ForwardedLogs()
    figures = ServerFigures(refusals.counts, logs.counts, certificates)
    service = Service(
        source.state, source.feed, settings.policy, collectors=source.collectors, figures=figures,
        page=settings.page and settings.metrics_port > 0,
    )  # fmt: skip
    if source.relaxed is not None:
        service.verbs.on_relaxed = source.relaxed.offer
        source.relaxed.start()
    with ExitStack() as sockets:
        listener = sockets.enter_context(listen(settings.host, settings.port))
        metrics_port = listen(settings.host, settings.metrics_port) if settings.metrics_port else None
        if metrics_port:
            sockets.enter_context(metrics_port)
        _log.info(
            "serving",
            address=listener.getsockname()[:2],
            placement=settings.placement,
            tls=settings.tls is not None,
        )
        server = Server(
            create_app(service), certificates=certificates, drain=settings.drain, on_drain=service.leave,
            refusals=refusals, ready=lambda: not source.feed.waiting_for, metrics_port=metrics_port,
            page=service.page,
        )  # fmt: skip
        if not stop.is_set():
            server.run(sockets=[listener])
    _log.info("stopped", answered=service.metrics.answered())
