# SPDX-License-Identifier: Apache-2.0
"""What the extender's HTTP side serves, built once and passed as one typed object.

Enters: the cluster state, its feed and the policy. Leaves: the two verbs, explanations, metrics and readiness.
The composition root (``extender.run``) builds one; routes and server use it. Knows nothing of FastAPI or sockets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.registry import Collector

from extender.api.answers import Verbs
from extender.api.explainer import Explainer
from extender.api.load_shedding import Gate
from extender.api.metrics import CertificateFigures, Metrics
from extender.cluster.feed import Feed
from extender.cluster.state import ClusterState
from extender.placement.policy import Policy


class Service:
    """See the module."""

    def __init__(
        self, state: ClusterState, feed: Feed, policy: Policy, *, collectors: Iterable[Collector] = (),
        refused: Mapping[str, int] | None = None, certificates: CertificateFigures | None = None,
    ) -> None:  # fmt: skip
        """``collectors``: further metrics; ``refused``: refused connections by reason; ``certificates``: what is
        known of the server's certificates."""
        self.feed = feed
        self.metrics = Metrics(state, feed.by_resource, refused, certificates)
        for collector in collectors:
            self.metrics.registry.register(collector)
        self.verbs = Verbs(state, policy, self.metrics)
        if self.verbs.shadow is not None:
            self.metrics.show(self.verbs.shadow)
        self.explainer = Explainer(state, policy, self.verbs.count_sent)
        self.gate = Gate(self.metrics, self.verbs, policy.max_in_flight)
        self._leaving = False

    def leave(self) -> None:
        """Report not ready from now on: the process is about to end."""
        self._leaving = True

    @property
    def not_ready(self) -> str | None:
        """Why the extender is not ready; None when it is."""
        if self._leaving:
            return "about to end"
        if missing := self.feed.waiting_for:
            return f"waiting for the first list of {', '.join(missing)}"
        return None
