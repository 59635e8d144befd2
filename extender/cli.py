# SPDX-License-Identifier: Apache-2.0
"""``traffic-footprint-extender [run]``: settings in, a serving process out; ``cleanup``: a cluster without
what agents left in it. One clear line for what the operator can mend."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import TypeVar

import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsError

from extender.api.routes import Feed, create_app
from extender.cleanup import CleanupSettings, cleanup, sentence
from extender.cluster.offline import SavedCluster, StateFeed, StateFileError, read_objects, state_of
from extender.cluster.state import ClusterState
from extender.cluster.watches import Watches
from extender.learning.feed import LearningFeed
from extender.serving.certificates import CertificateError, Certificates
from extender.serving.server import Server, listen
from extender.settings import PROGRAM, Settings
from footprint.cluster.client import ApiError, ClusterConfigError, connect, request
from footprint.service import configure_logging, fail, stop_on_signals
from footprint.units import parse_bandwidth

_log = structlog.get_logger()


_Model = TypeVar("_Model", bound=BaseSettings)


def _switched(arguments: Sequence[str]) -> list[str]:
    """``arguments`` in which a bare ``--shadow`` says ``true``: people type it so, manifests give it a value."""
    return [
        f"{argument}=true" if argument == "--shadow" and after.startswith("--") else argument
        for argument, after in pairwise([*arguments, "--"])
    ]


def read_settings(arguments: Sequence[str]) -> Settings:
    """Settings of ``run`` from flags and environment."""
    return _read(Settings, "run", arguments)


def _read(model: type[_Model], command: str, arguments: Sequence[str]) -> _Model:
    """Settings from flags and environment; ends the program with one line when they cannot be understood."""
    see = f"see `{PROGRAM} {command} --help`"
    try:
        return CliApp.run(model, cli_args=_switched(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if not first["loc"]:
            fail(str(first["msg"]).removeprefix("Value error, "), see)
        name = str(first["loc"][0])
        fail(
            f"--{name.replace('_', '-')} {first.get('input')!r}: {first['msg']}",
            f"{see} (environment: TRAFFIC_FOOTPRINT_{name.upper()})",
        )
    except SettingsError as error:
        fail(str(error).splitlines()[0], see)


def _source(settings: Settings) -> tuple[ClusterState, Feed]:
    """What answers rest on: a saved cluster, or the API server's watches. Logs once nothing can be refused."""
    default_rate = parse_bandwidth(settings.default_elephant_bandwidth)
    if settings.state is not None:
        try:
            objects = read_objects(settings.state)
        except StateFileError as error:
            fail(f"--state {error}")
        configure_logging(settings.log_format, settings.log_level)
        saved = SavedCluster(objects, learn=settings.learn)
        return state_of(
            saved, stale=settings.stale_after, default_rate=default_rate, hold=settings.ledger_hold
        ), StateFeed()
    try:
        api = connect(settings.kubeconfig, user_agent=PROGRAM)
    except ClusterConfigError as error:
        fail(str(error))
    configure_logging(settings.log_format, settings.log_level)
    state = ClusterState(stale_after=settings.stale_after, hold=settings.ledger_hold, default_rate=default_rate)
    watches = Watches(api, state, namespace=settings.namespace)
    if not settings.learn:
        return state, watches
    return state, LearningFeed(watches, state, api, namespace=settings.namespace, config=settings.learner)


def _certificates(settings: Settings) -> Certificates | None:
    try:
        return Certificates(settings.tls) if settings.tls else None
    except CertificateError as error:
        fail(str(error))


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    certificates, (state, feed) = _certificates(settings), _source(settings)
    stop = stop_on_signals()
    refused: Counter[str] = Counter()
    app = create_app(state, feed, settings.policy, refused, certificates)
    with ExitStack() as sockets:
        listener = sockets.enter_context(listen(settings.host, settings.port))
        observers = listen(settings.host, settings.metrics_port) if settings.metrics_port else None
        if observers:
            sockets.enter_context(observers)
        _log.info(
            "serving",
            address=listener.getsockname()[:2],
            placement=settings.placement,
            tls=settings.tls is not None,
        )
        server = Server(
            app,
            certificates=certificates,
            drain=settings.drain,
            on_drain=app.state.leave,
            refused=refused,
            ready=lambda: not feed.waiting_for,
            observers=observers,
        )
        if not stop.is_set():
            server.run(sockets=[listener])
    _log.info("stopped", answered=app.state.answered())


def clean(settings: CleanupSettings) -> None:
    """Remove what agents left in the cluster; one line about it on stdout. Ends the program when it cannot."""
    try:
        api = connect(settings.kubeconfig, user_agent=PROGRAM)
        print(sentence(cleanup(partial(request, api), settings)))
    except ClusterConfigError as error:
        fail(str(error))
    except ApiError as error:
        fail(f"not cleaned up: {error}", "it is safe to repeat")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["cleanup"]:
        clean(_read(CleanupSettings, "cleanup", given[1:]))
        return
    usage = f"usage: {PROGRAM} [run]|cleanup [--help] [FLAGS]"
    if given[:1] in (["-h"], ["--help"]):
        print(usage)
        return
    if given[:1] == ["run"]:
        given = given[1:]
    elif not given or not given[0].startswith("-"):  # flags alone mean ``run``: there is nothing else to serve
        fail(f"unknown command {given[0]!r}" if given else "no command given", usage)
    serve(read_settings(given))
