# SPDX-License-Identifier: Apache-2.0
"""Clusters of two real nodes, one that modules share and others of their own, always removed, never skipped.

A machine that cannot run it fails these tests with the remedy. Logs are kept in ``build/node-logs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.bench.scheduler.real import programs
from lab.config import LabConfig
from lab.errors import LabError
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.files import IPVS
from tests.labs import standing_on
from tests.node.support import accounting, chart, vm

HERE = Path(__file__).parent
LOGS = HERE.parents[1] / "build" / "node-logs"


def started(lab: RealLab) -> Iterator[RealLab]:
    """``lab``, for a fixture to yield from: up, watched over, and always removed."""
    _enter(lab)
    try:
        with standing_on(lab):
            yield lab
    finally:
        lab.__exit__(None, None, None)


def _enter(lab: RealLab) -> None:
    try:
        lab.__enter__()
    except LabError as error:
        pytest.fail(f"the real nodes did not come up: {error}", pytrace=False)


class Shared:
    """A lab for several modules, one after another: coming up takes longer than many a module's tests."""

    def __init__(self, name: str, nodes: int, **kind: Any) -> None:
        """``kind`` are further arguments of RealLab; logs are kept under ``name``."""
        self._config, self._kind = LabConfig(nodes=nodes, keep_dir=LOGS / name), kind
        self._lab: RealLab | None = None

    def take(self) -> RealLab:
        """The lab, started for the first of them."""
        if self._lab is None:
            programs.image()  # downloaded once, while this thread is in the machine's own network
            lab = RealLab(self._config, **self._kind)
            _enter(lab)
            self._lab = lab
        return self._lab

    def close(self) -> None:
        """Remove it, if there is one. The next module that takes it gets a new one."""
        if self._lab is not None:
            self._lab.__exit__(None, None, None)
            self._lab = None


@pytest.fixture(scope="session")
def shared() -> Iterator[Shared]:
    found = Shared("shared", 2)
    yield found
    found.close()


@pytest.fixture(scope="session")
def vms() -> Iterator[Shared]:
    """``node1`` in a namespace, and one for each of ``vm.KERNELS`` in a virtual machine, the last with IPVS."""
    found = Shared("vms", 1, vms=vm.KERNELS, proxy_mode=IPVS)
    yield found
    found.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that share a lab come first, so that it comes up once: those without a ``kind`` of their own."""
    places = [place for place, item in enumerate(items) if HERE in item.path.parents]
    shared_first = sorted((items[place] for place in places), key=lambda item: hasattr(_module(item), "kind"))
    for place, item in zip(places, shared_first, strict=True):
        items[place] = item


def _module(item: pytest.Item) -> object:
    return getattr(item, "module", None)


@pytest.fixture(scope="module")
def kind() -> Mapping[str, Any] | None:
    """Which nodes ``lab`` has, as arguments of RealLab. A module that wants its own has a fixture of this name.

    None: those of the lab that modules share. Such a module leaves it as it found it, but for the chart's release.
    """
    return None


@pytest.fixture(scope="module")
def lab(
    request: pytest.FixtureRequest, kind: Mapping[str, Any] | None, shared: Shared, vms: Shared
) -> Iterator[RealLab]:
    """This thread is in the control plane's namespace while the module runs."""
    vms.close()
    if kind is None:
        lab = shared.take()
        with standing_on(lab):
            yield lab
        return
    shared.close()  # two labs at once would take each other's time
    module = request.module.__name__.rpartition(".")[2]
    yield from started(RealLab(LabConfig(nodes=2, keep_dir=LOGS / module), **kind))


@pytest.fixture(scope="module")
def release(lab: RealLab) -> RealLab:
    """The lab with the whole chart, which tests of several modules leave as they found it."""
    if not chart.installed(lab):
        chart.install(lab, chart.usual(lab))
    return lab


@pytest.fixture(scope="module")
def vm_lab(shared: Shared, vms: Shared) -> Iterator[RealLab]:
    """The lab with virtual machines, which modules share one after another, with the chart on it."""
    shared.close()
    lab = vms.take()
    with standing_on(lab):
        vm.installed(lab)
        yield lab


@pytest.fixture(scope="module")
def agents(lab: RealLab) -> RealLab:
    """The lab with the chart's agents, and nothing else of the chart. A module may have more of it."""
    if not chart.installed(lab):
        chart.install(lab, chart.AGENTS_ALONE)
    return lab


@pytest.fixture(scope="module")
def uids(agents: RealLab) -> Iterator[dict[str, str]]:
    """The UIDs of a receiver on node2 behind Services and of a sender on each node, by name."""
    with accounting.stage(agents) as found:
        yield found
