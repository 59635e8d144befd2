# SPDX-License-Identifier: Apache-2.0
"""Both programs' metrics before Prometheus' own judge of names, units and texts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lab.docs import metrics
from lab.docs.metric_uses import AGENT, Use
from lab.errors import LabError
from lab.prometheus import binaries


@pytest.mark.parametrize("registry", [metrics.agent_registry, metrics.extender_registry])
def test_promtool_finds_nothing_wrong(registry: Callable[[], CollectorRegistry]) -> None:
    page = generate_latest(registry())
    assert page.count(b"# TYPE traffic_footprint_") > 30
    assert binaries.metrics_problems(page) == ""


def test_promtool_would_find_what_is_wrong() -> None:
    page = b"# HELP t_bits_per_second Rate.\n# TYPE t_bits_per_second gauge\nt_bits_per_second 1\n"
    assert "use base unit" in binaries.metrics_problems(page)


def test_a_metric_that_nobody_says_what_to_do_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(AGENT, "flows")
    with pytest.raises(LabError, match="traffic_footprint_agent_flows has no entry"):
        metrics.parts()


def test_what_is_said_of_a_metric_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGENT, "gone", Use("Nothing."))
    with pytest.raises(LabError, match="without a metric: gone"):
        metrics.parts()


def test_without_prometheus_the_error_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabError, match=r"`lab/setup/packages.sh prometheus` as root"):
        binaries.promtool()
