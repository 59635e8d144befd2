# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from footprint.models import LinkRates, NodeFootprint, Uplink
from nodeagent.metrics import AgentCollector, LoopState
from nodeagent.sources.base import HOST, Counters, LossKind, Reading
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.compiling.objects import Refusal


def rendered(figures: LoopState) -> list[str]:
    registry = CollectorRegistry()
    registry.register(AgentCollector(figures, dict, dict))
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


def test_bytes_are_shown_by_owner_and_direction() -> None:
    owners = {"uid-1": Counters(tx_bytes=700, rx_bytes=30, local_bytes=5), HOST: Counters(rx_bytes=9)}
    figures = LoopState(reading=Reading(1.0, 1, owners, lost={LossKind.EVENTS_OVERRUN: 2}))
    lines = rendered(figures)
    prefix = "traffic_footprint_agent_owner_bytes_total"
    assert f'{prefix}{{direction="tx",owner="uid-1"}} 700.0' in lines
    assert f'{prefix}{{direction="local",owner="uid-1"}} 5.0' in lines
    assert f'{prefix}{{direction="rx",owner="host"}} 9.0' in lines
    assert 'traffic_footprint_agent_losses_total{kind="events-overrun"} 2.0' in lines


def test_each_of_several_uplinks_is_shown_beside_the_one_that_the_node_is_told_of_by() -> None:
    links = (Uplink("eth0", used=LinkRates(1e6, 0)), Uplink("eth1", LinkRates(1e9, 1e9), el=LinkRates(5e8, 0)))
    node = NodeFootprint("s", LinkRates(1e9, 1e9), el=LinkRates(5e8, 0), used=LinkRates(6e8, 0), uplinks=links)
    lines = rendered(LoopState(footprint=node, uplink_coverage={"eth1": 0.25}, corrected=7))
    prefix = "traffic_footprint_agent_"
    assert f'{prefix}link_bits_per_second{{direction="tx",what="carried"}} 6e+08' in lines
    assert f'{prefix}uplink_bits_per_second{{direction="tx",uplink="eth1",what="elephants"}} 5e+08' in lines
    assert f'{prefix}uplink_bits_per_second{{direction="tx",uplink="eth0",what="carried"}} 1e+06' in lines
    assert f'{prefix}uplink_coverage_ratio{{uplink="eth1"}} 0.25' in lines
    assert f"{prefix}readings_corrected_total 7.0" in lines


def of_link(footprint: NodeFootprint) -> set[str]:
    prefix = "traffic_footprint_agent_link_"
    names = (f"{prefix}full", f"{prefix}capacity_source", f"{prefix}capacity_confidence")
    lines = rendered(LoopState(footprint=footprint))
    return {line.removeprefix(prefix) for line in lines if line.startswith(names) and not line.endswith(" 0.0")}


def test_a_links_capacity_source_and_fullness_are_shown_also_of_each_of_several() -> None:
    cap = LinkRates(1e9, 1e9)
    one = NodeFootprint("t", cap, up="eth0", by="estimated", sure=0.75, full=("tx",))
    assert of_link(one) == {
        'full{direction="tx",uplink="eth0"} 1.0',
        'capacity_source{source="estimated",uplink="eth0"} 1.0',
        'capacity_confidence{uplink="eth0"} 0.75',
    }
    links = (Uplink("eth0", cap, "driver"), Uplink("eth1", cap, "assumed", full=("rx",)))
    assert of_link(NodeFootprint("t", cap, up="eth0", by="driver", uplinks=links)) == {
        'full{direction="rx",uplink="eth1"} 1.0',
        'capacity_source{source="driver",uplink="eth0"} 1.0',
        'capacity_source{source="assumed",uplink="eth1"} 1.0',
    }
