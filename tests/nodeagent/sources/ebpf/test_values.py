# SPDX-License-Identifier: Apache-2.0
"""Between the project's values and the kernel's."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.base import FlowThresholds
from nodeagent.sources.ebpf.kernel.layout import Address, Config
from nodeagent.sources.ebpf.values import configure, endpoint, narrow, seed_key, wide
from nodeagent.sources.tuples import FlowTuples

addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16).filter(
    lambda raw: not raw.startswith(bytes(10) + b"\xff\xff")
)


@given(addresses)
def test_an_address_comes_back_as_it_went(address: bytes) -> None:
    assert len(wide(address)) == 16
    assert narrow(wide(address)) == address


@pytest.mark.parametrize(("text", "shown"), [("10.0.0.1", "10.0.0.1:80"), ("fd00::1", "[fd00::1]:80")])
def test_endpoints_read_as_everywhere(text: str, shown: str) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    assert endpoint(Address.from_buffer_copy(wide(packed)), socket.htons(80)) == shown


def test_thresholds_become_bytes_per_window_and_jiffies() -> None:
    config = Config(netns=7, generation=3)
    configure(config, FlowThresholds(), 0.004)
    assert (config.elephant_bytes, config.mouse_bytes) == (10 * 2**20, 128 * 2**10)
    assert (config.window_bytes, config.exit_bytes) == (1_250_000, 625_000)  # 10 Mbit/s, and half, over a second
    assert (config.window, config.exit_hold) == (250, 1250)
    assert (config.netns, config.generation) == (7, 3)


@given(
    thresholds=st.builds(
        FlowThresholds,
        elephant_rate=st.floats(0, 1e18),
        rate_window=st.floats(0, 1e9),
        exit_factor=st.floats(0, 10),
        exit_hold=st.floats(0, 1e9),
        elephant_bytes=st.integers(0, 2**62),
    ),
    tick=st.sampled_from([0.001, 0.004, 0.01]),
)
def test_no_thresholds_overflow_the_kernels_arithmetic(thresholds: FlowThresholds, tick: float) -> None:
    config = Config()
    configure(config, thresholds, tick)
    assert 1 <= config.window <= 2**20
    assert 1 <= config.window_bytes <= 2**42
    assert config.exit_bytes <= 2**42
    assert config.elephant_bytes == thresholds.elephant_bytes


def test_a_seed_is_found_by_the_connections_original_tuple() -> None:
    key = seed_key(
        FlowTuples(6, b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3", b"\x0a\0\0\1", 40_000, 80, 8080, 40_000)
    )
    assert bytes(key.source) == wide(b"\x0a\0\0\1")
    assert bytes(key.destination) == wide(b"\x0a\0\0\2")
    assert (socket.ntohs(key.source_port), socket.ntohs(key.destination_port), key.protocol) == (40_000, 80, 6)
