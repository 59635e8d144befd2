"""The session inside a guest: one network, and one opened source for all scenarios."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.network import netns
from nodeagent.sources.base import FlowSource
from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import LOCALITY, Network, network
from tests.kernel.guest.sources import SOURCES, Factory


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--source", choices=sorted(SOURCES), default="ctnetlink", help="the flow source under test")


@pytest.fixture(scope="session")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture(scope="session")
def source_name(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("--source"))


@pytest.fixture(scope="session")
def factory(source_name: str) -> Factory:
    return SOURCES[source_name]


@pytest.fixture(scope="session")
def source(net: Network, factory: Factory) -> Iterator[FlowSource]:
    made = factory(THRESHOLDS, LOCALITY)
    with netns.entered(net.node):
        made.open()
    try:
        made.read(time.monotonic())
        yield made
    finally:
        made.close()


@pytest.fixture
def measuring(source: FlowSource, net: Network) -> Measuring:
    return Measuring(source, net)
