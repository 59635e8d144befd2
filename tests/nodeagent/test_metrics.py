# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import platform
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from footprint.classes import TrafficClass
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from footprint.version import installed
from nodeagent.measuring.totals import PODS, TrafficTotals
from nodeagent.metrics import AgentCollector, LoopState
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import HOST, Counters, Fill, LossKind, ProgramRuns, Reading
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.compiling.objects import Refusal


def rendered(figures: LoopState, pods: int = 0) -> list[str]:
    registry = CollectorRegistry()
    registry.register(AgentCollector(figures, dict, dict, pods=pods))
    return generate_latest(registry).decode().splitlines()


def test_every_kind_of_loss_is_there_from_the_start() -> None:
    lines = rendered(LoopState())
    for kind in LossKind:
        assert f'traffic_footprint_agent_losses_total{{kind="{kind.value}"}} 0.0' in lines


def test_every_way_to_come_by_a_program_is_there_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "counts", Counter({Refusal.DAMAGED.value: 1}))
    lines = rendered(LoopState())
    shown = {line for line in lines if line.startswith("traffic_footprint_agent_program_builds_total")}
    assert len(shown) == len(cache.OUTCOMES)
    assert 'traffic_footprint_agent_program_builds_total{outcome="damaged"} 1.0' in shown
    assert 'traffic_footprint_agent_program_builds_total{outcome="found"} 0.0' in shown


def reading(epoch: int = 1, **sent: int) -> Reading:
    return Reading(1.0, epoch, {owner: Counters(tx_bytes=count) for owner, count in sent.items()})


def test_bytes_are_shown_by_kind_of_owner_and_direction() -> None:
    owners = {
        "uid-1": Counters(tx_bytes=700, rx_bytes=30, local_bytes=5),
        "uid-2": Counters(tx_bytes=1),
        HOST: Counters(rx_bytes=9),
    }
    figures = LoopState(reading=Reading(1.0, 1, owners, lost={LossKind.EVENTS_OVERRUN: 2}))
    assert figures.reading is not None
    figures.totals.advance(figures.reading)
    lines = rendered(figures)
    prefix = "traffic_footprint_agent_traffic_bytes_total"
    assert f'{prefix}{{direction="tx",owner="pods"}} 701.0' in lines
    assert f'{prefix}{{direction="local",owner="pods"}} 5.0' in lines
    assert f'{prefix}{{direction="rx",owner="host"}} 9.0' in lines
    assert 'traffic_footprint_agent_losses_total{kind="events-overrun"} 2.0' in lines
    assert "uid-1" not in "".join(lines), "single pods are shown on request only"


def test_sums_never_fall_whatever_pods_and_sources_do() -> None:
    totals = TrafficTotals()
    for found, tx in (
        (reading(a=100, b=10), 110),
        (reading(a=150, b=10), 160),
        (reading(b=10), 160),  # a went
        (reading(a=20, b=10), 180),  # it is there again, and begins at zero
        (reading(a=5, b=10), 185),  # a smaller counter began again
        (reading(2, a=7), 192),  # the source started over
        (reading(2, a=7), 192),
    ):
        totals.advance(found)
        assert totals.sums[PODS].tx == tx


def test_series_of_single_pods_are_bounded_and_name_what_they_leave_out() -> None:
    owners = {f"uid-{n}": Counters(tx_bytes=n, tx_elephant_bytes=1) for n in range(20)} | {HOST: Counters()}
    pods = {"uid-19": LocalPod("uid-19", "shop", "web-1", "Deployment/web")}
    seen = PodFootprint("uid-19", "shop", "web-1", "Deployment/web", TrafficClass.ELEPHANT)
    figures = LoopState(
        reading=Reading(1.0, 1, owners), pods=pods, footprint=NodeFootprint("s", LinkRates(), (seen,))
    )
    lines = rendered(figures, pods=3)
    prefix = "traffic_footprint_agent_"
    shown = {line for line in lines if line.startswith(f"{prefix}pod_") and 'uid="' in line}
    assert {line.partition('uid="')[2].partition('"')[0] for line in shown} == {"uid-17", "uid-18", "uid-19"}
    assert len(shown) == 3 * 5 + 1
    assert f'{prefix}pod_traffic_bytes_total{{direction="tx",uid="uid-19"}} 19.0' in shown
    assert (
        f'{prefix}pod_info{{class="elephant",pod_name="web-1",pod_namespace="shop",uid="uid-19",'
        'workload="Deployment/web"} 1.0'
    ) in shown
    assert f"{prefix}pods_without_series 17.0" in lines


def test_the_kernels_own_counts_of_the_programs_and_the_fill_of_the_maps_are_shown() -> None:
    found = Reading(
        1.0, 1, {}, programs={"account": ProgramRuns(4, 2_000_000_000)}, tables={"flows": Fill(5, 100)}
    )
    lines = rendered(LoopState(reading=found))
    prefix = "traffic_footprint_agent_"
    assert f'{prefix}program_runs_total{{program="account"}} 4.0' in lines
    assert f'{prefix}program_run_seconds_total{{program="account"}} 2.0' in lines
    assert f'{prefix}map_entries{{map="flows"}} 5.0' in lines
    assert f'{prefix}map_max_entries{{map="flows"}} 100.0' in lines


def test_the_build_names_version_kernel_and_source() -> None:
    [line] = [line for line in rendered(LoopState(source="s")) if "_build_info{" in line]
    assert f'kernel="{platform.release()}",source="s",version="{installed()}"' in line
    assert installed() != "unknown"


def test_every_uplink_is_shown_in_bytes() -> None:
    links = (Uplink("eth0", used=LinkRates(8e6, 0)), Uplink("eth1", LinkRates(8e9, 8e9), el=LinkRates(4e8, 0)))
    node = NodeFootprint("s", LinkRates(8e9, 8e9), el=LinkRates(4e8, 0), uplinks=links)
    lines = rendered(LoopState(footprint=node, uplink_coverage={"eth1": 0.25}, corrected=7))
    prefix = "traffic_footprint_agent_"
    assert f'{prefix}link_carried_bytes_per_second{{direction="tx",uplink="eth0"}} 1e+06' in lines
    assert f'{prefix}link_elephant_bytes_per_second{{direction="tx",uplink="eth1"}} 5e+07' in lines
    assert f'{prefix}link_capacity_bytes_per_second{{direction="rx",uplink="eth1"}} 1e+09' in lines
    assert not [line for line in lines if "link_capacity_bytes" in line and "eth0" in line], "not known"
    assert f'{prefix}link_coverage_ratio{{uplink="eth1"}} 0.25' in lines
    assert f"{prefix}readings_corrected_total 7.0" in lines


def of_link(footprint: NodeFootprint) -> set[str]:
    prefix = "traffic_footprint_agent_link_"
    names = (f"{prefix}full", f"{prefix}capacity_source", f"{prefix}capacity_confidence_ratio")
    lines = rendered(LoopState(footprint=footprint))
    return {line.removeprefix(prefix) for line in lines if line.startswith(names) and not line.endswith(" 0.0")}


def test_a_links_capacity_source_and_fullness_are_shown_also_of_each_of_several() -> None:
    cap = LinkRates(1e9, 1e9)
    one = NodeFootprint("t", cap, up="eth0", by="estimated", sure=0.75, full=("tx",))
    assert of_link(one) == {
        'full{direction="tx",uplink="eth0"} 1.0',
        'capacity_source{source="estimated",uplink="eth0"} 1.0',
        'capacity_confidence_ratio{uplink="eth0"} 0.75',
    }
    links = (Uplink("eth0", cap, "driver"), Uplink("eth1", cap, "assumed", full=("rx",)))
    assert of_link(NodeFootprint("t", cap, up="eth0", by="driver", uplinks=links)) == {
        'full{direction="rx",uplink="eth1"} 1.0',
        'capacity_source{source="driver",uplink="eth0"} 1.0',
        'capacity_source{source="assumed",uplink="eth1"} 1.0',
    }
