# SPDX-License-Identifier: Apache-2.0
"""Where the extender listens when nobody says: on every address that the kernel has."""

from __future__ import annotations

import socket

import pytest

from extender.serving.server import listen

HAS_IPV6 = socket.has_dualstack_ipv6()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"] if HAS_IPV6 else ["127.0.0.1"])
def test_every_address_is_both_families(host: str) -> None:
    with listen("", 0) as listener:
        listener.listen()
        with socket.create_connection((host, listener.getsockname()[1]), timeout=30):
            pass


def test_every_address_is_ipv4_alone_where_the_kernel_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("", 0) as listener:
        assert listener.family is socket.AF_INET
        assert listener.getsockname()[0] == "0.0.0.0"


@pytest.mark.skipif(not HAS_IPV6, reason="the kernel has no IPv6")
def test_both_families_are_taken_whatever_the_node_prefers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``net.ipv6.bindv6only=1``: a new socket takes IPv6 alone unless it is told otherwise."""
    told: list[tuple[int, int]] = []
    real = socket.socket.setsockopt

    class Noted(socket.socket):
        def setsockopt(self, level: int, name: int, value: int) -> None:  # type: ignore[override]
            told.append((name, value))
            real(self, level, name, value)

    monkeypatch.setattr(socket, "socket", Noted)
    with listen("::", 0):
        assert (socket.IPV6_V6ONLY, 0) in told
