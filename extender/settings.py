# SPDX-License-Identifier: Apache-2.0
"""The extender's settings: every field says unit, default and why.

Flags are the kebab-case field names, environment variables ``TRAFFIC_FOOTPRINT_`` and the upper-case name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, CliDualFlag, SettingsConfigDict

from extender.cluster.labels import ZONE
from extender.learning.config import LearnerConfig
from extender.model.demand import DEFAULT_ELEPHANT_RATE
from extender.model.ledger import HOLD_SECONDS
from extender.placement.policy import DEFAULT_DEADLINE, DEFAULT_MAX_IN_FLIGHT, DEFAULT_RELAX_AFTER, Policy
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from footprint.declared import PlacementMode
from footprint.keys import DEFAULT_NAMESPACE
from footprint.service import LogFormat
from footprint.staleness import stale_after
from footprint.units import parse_bandwidth

DEFAULT_PORT = 8890
PROGRAM = "traffic-footprint-extender"
PlacementName = Literal["score", "prefer", "strict", "ignore"]
RebalanceName = Literal["off", "advise", "act"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the TLS port."""

    cert: Path
    """The server's certificate with its chain."""
    key: Path
    client_ca: Path | None = None
    """The CA that signs clients' certificates; None: clients need no certificate."""


def _bandwidth(text: str) -> str:
    parse_bandwidth(text)
    return text


def _no_service_link(value: object) -> object:
    """The default port for an address of a Service.

    A Service called ``traffic-footprint`` makes Kubernetes set our variable to ``tcp://10.0.0.1:8890`` in the
    namespace's pods. That is the Service's address, not a setting."""
    return DEFAULT_PORT if isinstance(value, str) and value.startswith(("tcp://", "udp://")) else value


class Settings(BaseSettings):
    """Score and filter nodes for kube-scheduler by the measured traffic of pods."""

    model_config = SettingsConfigDict(
        env_prefix="TRAFFIC_FOOTPRINT_", cli_kebab_case=True, cli_prog_name=f"{PROGRAM} run"
    )

    kubeconfig: str | None = Field(None, description="Kubeconfig file; absent: the pod's service account.")
    namespace: str = Field(DEFAULT_NAMESPACE, description="Namespace of the node agents' Leases.", min_length=1)
    host: str = Field(
        "",
        description="Address to listen on; absent: every address, IPv6 and IPv4, as far as the kernel has them.",
    )
    port: Annotated[int, BeforeValidator(_no_service_link)] = Field(
        DEFAULT_PORT, description="TCP port to listen on; 0 for any free one.", ge=0, le=65535
    )
    placement: PlacementName = Field(
        "prefer",
        description="How strongly to act on pods without the placement annotation: score never filters; prefer "
        "drops unsuitable nodes while suitable ones remain, so that no pod becomes unschedulable; strict always "
        "drops them, until --relax-after; ignore only serves pods that ask for it.",
    )
    relax_after: float = Field(
        DEFAULT_RELAX_AFTER, ge=0, allow_inf_nan=False,
        description="Seconds without a node after which a strict pod is placed as with prefer. Two minutes are "
        "longer than a node takes to be measured again, and shorter than people wait.",
    )  # fmt: skip
    stale_after: float = Field(
        stale_after(), gt=0, allow_inf_nan=False,
        description="Seconds without a renewed Lease after which a node's data is not used: three renewals.",
    )  # fmt: skip
    ledger_hold: float = Field(
        HOLD_SECONDS, ge=0, allow_inf_nan=False,
        description="Seconds a running pod counts by prediction until measurement shows it.",
    )  # fmt: skip
    default_elephant_bandwidth: Annotated[str, AfterValidator(_bandwidth)] = Field(
        f"{DEFAULT_ELEPHANT_RATE / 1e6:g}M",
        description="Bandwidth of a declared elephant without a declared or measured one, such as 100M.",
    )
    deadline: float = Field(
        DEFAULT_DEADLINE, gt=0, allow_inf_nan=False,
        description="Seconds from a request's arrival after which it fails open: every node passes, all scores "
        "are equal. A fifth of the 500 ms that kube-scheduler is told to wait.",
    )  # fmt: skip
    max_in_flight: int = Field(
        DEFAULT_MAX_IN_FLIGHT, ge=1,
        description="Requests under way at once; further ones fail open instead of waiting. A kube-scheduler "
        "sends one request at a time.",
    )  # fmt: skip
    shadow: bool = Field(
        False,
        description="Never act, and count what acting would have done: GET /shadow and the shadow_* metrics show "
        "what switching on would gain.",
    )
    drain: float = Field(
        3.0, ge=0, le=60, allow_inf_nan=False,
        description="Seconds after SIGTERM in which the extender reports not ready and still responds, once per "
        "connection: time for clients to move to another replica.",
    )  # fmt: skip
    tls_cert: Path | None = Field(None, description="PEM file: certificate with its chain; absent: plain HTTP.")
    tls_key: Path | None = Field(None, description="PEM file: the key of --tls-cert.")
    client_ca: Path | None = Field(
        None, description="PEM file: CA that must have signed clients' certificates; absent: clients need none."
    )
    metrics_port: int = Field(
        0, ge=0, le=65535,
        description="TCP port that serves /healthz, /readyz, /metrics and /shadow over plain HTTP as well, for "
        "kubelets and Prometheus, which have no client certificate; 0: none.",
    )  # fmt: skip
    page: CliDualFlag[bool] = Field(
        True,
        description="Serve the live page at /page/ on --metrics-port: nodes, pods and workloads by name, for "
        "whoever reaches that port. --no-page: only health, metrics and shadow counts there.",
    )
    page_group_label: str = Field(
        ZONE, max_length=317,
        description="Label of Nodes by which the live page groups them: zones, or racks.",
    )  # fmt: skip
    learn: CliDualFlag[bool] = Field(
        True,
        description="Keep what workloads were measured to do in TrafficFootprint objects, and use what people "
        "write into them. --no-learn: as if the cluster had no such objects.",
    )
    learn_interval: float = Field(
        30.0, ge=1, le=3600, allow_inf_nan=False,
        description="Seconds between two samples of every workload: most pods live for many samples, and few "
        "samples cost little.",
    )  # fmt: skip
    learn_retention: float = Field(
        30.0, ge=1, le=3650, allow_inf_nan=False,
        description="Days without a sighting after which a workload's TrafficFootprint is deleted, unless "
        "somebody filled in its spec. Long enough for jobs that run once a month.",
    )  # fmt: skip
    learn_capacity: int = Field(
        5000, ge=0, le=100_000,
        description="TrafficFootprints that are created at most. Beyond that, new ones replace those that were "
        "not seen for a day.",
    )  # fmt: skip
    rebalance: RebalanceName = Field(
        "off",
        description="What to do about pods that run beside the wrong others: off looks at nothing; advise says "
        "with Events and metrics which ones it would move; act evicts those that opted in (annotation rebalance).",
    )
    rebalance_interval: float = Field(
        30.0, ge=1, le=3600, allow_inf_nan=False,
        description="Seconds between two looks at the cluster: agents write no more often than every ten.",
    )  # fmt: skip
    rebalance_restart_cost: float = Field(
        4.0, gt=0, allow_inf_nan=False,
        description="What a move must gain, in service times of the link's queue. 4 is what one pod's mice wait "
        "on a link that elephants use to 80 percent.",
    )  # fmt: skip
    rebalance_sustain: float = Field(
        300.0, ge=0, allow_inf_nan=False,
        description="Seconds for which a move must have been worth it: longer than most bursts. Up to four times "
        "as long for pods that carry much or have lived long.",
    )  # fmt: skip
    rebalance_cooldown: float = Field(
        1800.0, ge=0, allow_inf_nan=False,
        description="Seconds for which a workload is left alone after one of its pods was moved, and any pod "
        "after it was made. No workload restarts more than twice an hour.",
    )  # fmt: skip
    rebalance_per_minute: float = Field(
        1.0, ge=0, le=60, allow_inf_nan=False,
        description="Evictions a minute in the whole cluster: few enough to watch. 0 stops them.",
    )  # fmt: skip
    rebalance_node_interval: float = Field(
        300.0, ge=0, allow_inf_nan=False,
        description="Seconds between two moves that have a node in common: time to measure what the first one "
        "did.",
    )  # fmt: skip
    rebalance_pending_limit: float = Field(
        120.0, ge=1, allow_inf_nan=False,
        description="Seconds for which a moved workload's pods may be pending. After that all moves stop for 15 "
        "minutes.",
    )  # fmt: skip
    rebalance_schedulers: str = Field(
        "",
        description="Names of the schedulers that ask this extender, with commas between; pods of others stay "
        "where they are. Absent: all do.",
    )
    state: Path | None = Field(
        None,
        description="Serve from a saved `kubectl get nodes,pods,leases -A -o json` instead of an API server.",
    )
    log_format: LogFormat = Field("json", description="json or text.")
    log_level: LogLevel = Field("info", description="debug, info, warning or error.")

    @model_validator(mode="after")
    def _whole_tls(self) -> Settings:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key belong together; name both or none")
        if self.client_ca is not None and self.tls_cert is None:
            raise ValueError("--client-ca needs --tls-cert and --tls-key: plain HTTP has no client certificates")
        return self

    @property
    def tls(self) -> TlsFiles | None:
        """None: plain HTTP."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_cert, self.tls_key, self.client_ca)

    @property
    def learner(self) -> LearnerConfig:
        return LearnerConfig(self.learn_interval, self.learn_retention * 86400, self.learn_capacity)

    @property
    def rebalancer(self) -> RebalanceConfig:
        return RebalanceConfig(
            RebalanceMode(self.rebalance), self.rebalance_interval, self.rebalance_restart_cost,
            self.rebalance_sustain, self.rebalance_cooldown, self.rebalance_per_minute,
            self.rebalance_node_interval, self.rebalance_pending_limit,
            schedulers=tuple(name.strip() for name in self.rebalance_schedulers.split(",") if name.strip()),
            namespace=self.namespace, policy=self.policy,
        )  # fmt: skip

    @property
    def policy(self) -> Policy:
        return Policy(
            PlacementMode(self.placement), self.relax_after, self.deadline, self.max_in_flight, self.shadow,
            self.ledger_hold,
        )  # fmt: skip
