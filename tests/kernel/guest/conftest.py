# SPDX-License-Identifier: Apache-2.0
"""The session inside a guest: one network that every source watches at once.

Scenarios marked ``irreversible`` change the kernel for good: they come last. Those marked ``one_kernel`` show what
the agent decides from what every kernel says alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from nodeagent.sources.base import FlowSource
from nodeagent.sources.ebpf.kernel import pins
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import LOCALITY, Network, network
from tests.kernel.guest.sources import SOURCES, opened


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--source", choices=SOURCES, action="append", help="sources that watch the shared node (default: all)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "irreversible: changes the kernel until it is booted again")
    config.addinivalue_line("markers", "one_kernel: shows the same whichever the kernel")
    builds.remember()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("irreversible") is not None)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a scenario left for a successor is gone before the next one: namespaces get their numbers again."""
    yield
    pins.discard_all()


@pytest.fixture(scope="session")
def shared_net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture(scope="session")
def shared_sources(shared_net: Network, pytestconfig: pytest.Config) -> Iterator[Mapping[str, FlowSource]]:
    names = pytestconfig.getoption("--source") or SOURCES
    with opened(names, shared_net.node, THRESHOLDS, LOCALITY) as made:
        yield made


@pytest.fixture
def measuring(shared_sources: Mapping[str, FlowSource], shared_net: Network) -> Measuring:
    return Measuring(shared_sources, shared_net)
