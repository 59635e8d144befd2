# SPDX-License-Identifier: Apache-2.0
"""The node agent's settings: one set of names for flags, environment and Helm values.

``--write-interval`` is ``TRAFFIC_FOOTPRINT_WRITE_INTERVAL`` is ``writeInterval``; a flag wins over the
environment. Every value is checked here, once; a bad one is reported in one line that names its flag.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, SettingsConfigDict

from footprint.keys import DEFAULT_NAMESPACE
from footprint.service import LogFormat
from footprint.settings import ENV_PREFIX, read
from footprint.staleness import LEASE_RENEW_SECONDS
from footprint.units import MAX_RATE, parse_bandwidth
from nodeagent.node.capacity.stated import parse_table
from nodeagent.sources.base import FlowThresholds
from nodeagent.sources.ebpf.compiling.build import TIMEOUT
from nodeagent.tuning.modes import MARKS_A_SECOND, Mode, PriorityOptions, parse_mark, parse_priority

PROGRAM: Final = "traffic-footprint-nodeagent"
_SIZE: Final = re.compile(r"(\d{1,15})\s*(?:([KMG])(i?)B?|B)?", re.IGNORECASE)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3}
_DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_FLOWS: Final = FlowThresholds()


def parse_size(text: str) -> int:
    """Bytes of ``10Mi``, ``128KiB``, ``10M`` (10**6) or a plain number. Raises ValueError naming the form."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:60]!r} is not a size; write bytes with a suffix, such as 10Mi or 128Ki")
    return int(match[1]) * int((1024 if match[3] else 1000) ** _POWERS[(match[2] or "").upper()])


def _rate(value: object) -> object:
    return parse_bandwidth(value) if isinstance(value, str) else value


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _rate_or_none(value: object) -> object:
    return 0.0 if isinstance(value, str) and value.strip() == "0" else _rate(value)


def _table(text: str) -> str:
    parse_table(text)
    return text


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    """Keeps the text as it was written. ``parse`` raises ValueError for what cannot be used."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def _path(value: object) -> object:
    return None if value == "" else value  # "" is not the current folder, as it is to Path


Bandwidth = Annotated[float, BeforeValidator(_rate), Field(gt=0, le=MAX_RATE)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0, le=2**50)]


def _seconds(least: float, most: float) -> object:
    return Field(ge=least, le=most, allow_inf_nan=False)


_CONFIG: Final = SettingsConfigDict(
    env_prefix=ENV_PREFIX,
    env_ignore_empty=True,  # an empty Helm value means "not set"
    cli_kebab_case=True,
    use_attribute_docstrings=True,
    extra="ignore",
)
Interfaces = Annotated[str, Field(pattern=r"^[^/\s:,]{1,15}(,[^/\s:,]{1,15}){0,15}$")]
CgroupRoot = Annotated[Path | None, BeforeValidator(_path)]
CompileTimeout = Annotated[float, _seconds(1, 3600)]


class MeasuringSettings(BaseSettings):
    """What is measured and how, for the agent and for ``top``."""

    model_config = SettingsConfigDict(**_CONFIG)

    uplink: Interfaces | None = None
    """Interfaces whose links are shared, separated by commas, such as eth0,eth1. Absent: those by which the
    kernel's routes leave the node, whatever table they are in."""

    link_capacity: Bandwidth | None = None
    """Link capacity per direction, bit/s, such as 200M or 10G, of every uplink. Absent: from the first that knows.
    That is the Node's annotation or label traffic-footprint.io/link-capacity, a provisioner's label, the table by
    instance type, a driver that can be believed, and what the link itself showed."""

    source: Literal["auto", "ebpf", "ctnetlink", "ebpf-cgroup"] = "auto"
    """Measuring source. auto: the first of the list that the preflight finds usable. ebpf-cgroup counts at
    sockets, for networks whose packets conntrack does not see."""

    cgroup_root: CgroupRoot = None
    """Folder of the cgroup2 tree whose sockets ebpf-cgroup counts. Absent: the machine's root."""

    poll_interval: Annotated[float, _seconds(0.1, 60)] = 1.0
    """Seconds between readings."""

    elephant_bytes: Size = _FLOWS.elephant_bytes
    """Bytes from which a flow may be an elephant: above nearly all request/response exchanges."""

    elephant_rate: Bandwidth = _FLOWS.elephant_rate
    """bit/s an elephant must sustain; also the elephant traffic from which a pod's class is elephant."""

    mouse_bytes: Size = _FLOWS.mouse_bytes
    """A flow that ends below this was a mouse."""

    compile_timeout: CompileTimeout = TIMEOUT
    """Seconds that compiling the eBPF program may take for one way to attach it. It takes about two, and longer on
    a busy processor. After that the next source is tried."""

    def flow_thresholds(self) -> FlowThresholds:
        """The flow source's thresholds. The rate window is never shorter than the poll interval."""
        return FlowThresholds(
            elephant_bytes=self.elephant_bytes,
            elephant_rate=self.elephant_rate,
            mouse_bytes=self.mouse_bytes,
            rate_window=max(_FLOWS.rate_window, self.poll_interval),
        )


class AgentSettings(MeasuringSettings):
    """Measures this node's traffic and publishes it on its Node object."""

    model_config = SettingsConfigDict(**_CONFIG, cli_prog_name=f"{PROGRAM} run")

    node_name: Annotated[str, Field(pattern=_DNS_NAME)]
    """Name of this machine's Node object. In a DaemonSet: spec.nodeName through the downward API."""

    kubeconfig: str | None = None
    """Kubeconfig file. Absent: the pod's service account, as in a DaemonSet."""

    namespace: Annotated[str, Field(pattern=_DNS_NAME)] = DEFAULT_NAMESPACE
    """Namespace of the heartbeat Leases: the release's, so that one Role covers them."""

    link_capacity_by_instance_type: Annotated[str, AfterValidator(_table), Field(max_length=2**15)] = ""
    """Link capacities by the Node's label node.kubernetes.io/instance-type, such as m5.large=750M,m5.*=10G. The
    first pattern that fits counts. No provider's list is built in, because such lists grow old."""

    link_capacity_assumed: Annotated[float, BeforeValidator(_rate_or_none), Field(ge=0, le=MAX_RATE)] = 1e9
    """Link capacity while nothing else tells it, bit/s. 0: it is then not known. Common cloud machines keep up
    about 1G. A capacity that is assumed moves scores and never filters, so that a wrong one costs little."""

    write_interval: Annotated[float, _seconds(1, 3600)] = 10.0
    """Seconds between writes of the Node, on average. The API server sends each one to every watcher of Nodes."""

    hold: Annotated[float, _seconds(0, 600)] = 1.0
    """Seconds a change must last before it is written."""

    deadband: Annotated[float, Field(ge=0.01, le=1, allow_inf_nan=False)] = 0.2
    """Relative change of a rate below which nothing is written: a smaller one hardly changes placement."""

    retention: Annotated[float, _seconds(0, 86400)] = 900.0
    """Seconds that ended pods stay published, so that short-lived ones still teach. 0: not at all."""

    lease_renew: Annotated[float, _seconds(1, 3600)] = LEASE_RENEW_SECONDS
    """Seconds between heartbeats; three missed ones make the data stale for the extender."""

    keep_program: CliImplicitFlag[bool] = True
    """In a DaemonSet (without --kubeconfig): leave the eBPF program in the kernel when another agent is expected
    to follow. That agent takes it over with every flow; `traffic-footprint-nodeagent unload` removes it.
    Otherwise, and where nothing can be pinned below /sys/fs/bpf, the program ends with the agent."""

    metrics_host: str = "0.0.0.0"  # noqa: S104 - scraped from other nodes; --metrics-host narrows it
    """Address that serves /metrics, /healthz and /readyz."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9101
    """Port that serves /metrics, /healthz and /readyz. 0: off."""

    tune_priority: Literal["off", "advise", "apply"] = "off"
    """Let mice pass elephants in the queues of this node's uplinks: elephants' connections are marked, and one
    nftables table gives their packets a lower priority. advise: say at /tuning and in the log what apply would do.
    apply needs the program nft and the folder /var/lib/traffic-footprint, where a journal is kept."""

    tune_mark: Annotated[str, _checked(parse_mark)] = "0x2000"
    """The bit of the connection mark that says elephant. Nobody else may use it: where somebody does, nothing is
    tuned."""

    tune_class: Annotated[str, _checked(parse_priority)] = "bulk"
    """What elephants' packets get. bulk: the priority that pfifo_fast and prio serve last. MAJOR:MINOR: a class of
    the uplink's qdisc, such as 1:30 of HTB."""

    tune_lower_effort: CliImplicitFlag[bool] = False
    """With tune_priority, give elephants' packets the DSCP of lower effort (RFC 8622) too, for the switches on
    their way. Packets with a DSCP of their own keep it."""

    tune_marks_per_second: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = MARKS_A_SECOND
    """Connections marked per second at most. Further elephants wait for the next second."""

    pod_metrics: Annotated[int, Field(ge=0, le=1000)] = 0
    """Pods of this node with series of their own in /metrics, those with most traffic first; six series each. 0:
    none, because a cluster of 5,000 nodes with 30 pods each would have 900,000."""

    log_format: LogFormat = "json"
    """json for collectors, text for people."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""

    def priority_options(self) -> PriorityOptions:
        """How elephants are let wait."""
        return PriorityOptions(
            mode=Mode(self.tune_priority), mark=parse_mark(self.tune_mark),
            priority=parse_priority(self.tune_class), lower_effort=self.tune_lower_effort,
            marks_a_second=self.tune_marks_per_second,
        )  # fmt: skip


class PreflightSettings(BaseSettings):
    """Says what this machine can measure, and what to do where it cannot. Attaches a trial program and detaches
    it, but not where an agent measures by eBPF. Changes nothing else."""

    model_config = SettingsConfigDict(**_CONFIG, cli_prog_name=f"{PROGRAM} preflight")

    output: Literal["text", "json"] = "text"
    """text for people, json for programs."""

    uplink: Interfaces | None = None
    """Interfaces whose links are shared, separated by commas, such as eth0,eth1. Absent: those by which the
    kernel's routes leave the node, whatever table they are in."""

    compile_timeout: CompileTimeout = TIMEOUT
    """Seconds that compiling the eBPF program may take for one way to attach it."""

    cgroup_root: CgroupRoot = None
    """Folder of the cgroup2 tree whose sockets ebpf-cgroup counts. Absent: the machine's root."""


class TopSettings(MeasuringSettings):
    """Shows live elephants and the footprints of their owners on this machine. Needs no cluster. The ctnetlink
    source switches byte accounting of connections on and leaves it on; nothing else changes.

    Without --pods, elephants are shown with their addresses, and traffic is either the machine's own (host) or
    passes through it (unattributed). --addresses names owners by their addresses. On a terminal the picture is
    refreshed in place; elsewhere lines are appended. The first one comes with the third reading, because a rate
    needs two intervals. Ctrl-C ends it."""

    model_config = SettingsConfigDict(
        **_CONFIG, cli_prog_name=f"{PROGRAM} top", cli_shortcuts={"for-seconds": "for"}
    )

    pods: Path | None = None
    """File that names the addresses of pods, containers and virtual machines on this machine; read again when it
    changes. It has lines `ADDRESS NAME` (# begins a comment), or is what `kubectl get pods -A -o json` prints.
    Pods of other machines in that JSON are left out. Lines must not name addresses of other machines: traffic
    between two addresses in the file does not use the link."""

    addresses: CliImplicitFlag[bool] = False
    """Without --pods: show everyone behind this machine's virtual interfaces (veth, taps, bridges of them) as an
    owner called by its address. They are the kernel's neighbours and host routes. Hosts behind another router are
    not among them. Virtual machines of libvirt and QEMU are called by their names, as vm/NAME."""

    once: CliImplicitFlag[bool] = False
    """Show one picture and end."""

    for_seconds: Annotated[float, _seconds(0.5, 10**7)] | None = None
    """Seconds after which to end. Absent: on Ctrl-C or SIGTERM."""

    output: Literal["text", "json"] = "text"
    """text for people; json: one object per reading and line, rates in bit/s, sizes in bytes."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.for_seconds is not None and self.for_seconds < 2 * self.poll_interval:
            raise ValueError(
                "--for is shorter than two of --poll-interval, so no rate could be shown; raise --for"
            )
        if self.addresses and self.pods is not None:
            raise ValueError("--addresses and --pods both say who the owners are: give one of them")
        return self


class UnloadSettings(BaseSettings):
    """Removes the programs that agents left in this machine's kernel for their successors. Needs root.

    An agent that runs goes on. It removes its own program when it ends.
    """

    model_config = SettingsConfigDict(**_CONFIG, cli_prog_name=f"{PROGRAM} unload")


class UntuneSettings(BaseSettings):
    """Takes back what an agent that crashed has tuned on this machine: marks of connections, and its nftables
    table. What somebody else changed since stays, and is named. Needs root.

    An agent that runs takes its tuning back when it ends.
    """

    model_config = SettingsConfigDict(**_CONFIG, cli_prog_name=f"{PROGRAM} untune")


def parse(arguments: list[str]) -> AgentSettings:
    """Settings from flags, then environment, then defaults. Raises BadSettingError; ``--help`` exits 0."""
    return read(AgentSettings, arguments)


def parse_preflight(arguments: list[str]) -> PreflightSettings:
    """As ``parse``, for the preflight."""
    return read(PreflightSettings, arguments)


def parse_top(arguments: list[str]) -> TopSettings:
    """As ``parse``, for ``top``."""
    return read(TopSettings, arguments)
