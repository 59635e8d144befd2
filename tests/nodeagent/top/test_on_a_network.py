# SPDX-License-Identifier: Apache-2.0
"""``watch`` as a program inside a node's network namespace, held against what the node's own rules counted."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.network import netns
from nodeagent.top.notes import TRACKING_COMMAND
from tests.nodeagent.sources.ctnetlink.network import (
    POD2_4,
    POD4,
    POD6,
    SERVER4,
    SERVER6,
    Network,
    TcpPair,
    network,
)

pytestmark = pytest.mark.netns

PROGRAM = [sys.executable, "-c", "from nodeagent.cli import main; main()", "top"]
QUICK = ["--uplink", "uplink", "--link-capacity", "1G", "--poll-interval", "0.3"]
ELEPHANTS = ["--elephant-bytes", "2M", "--elephant-rate", "1M"]
PATIENCE = 60.0


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    file = tmp_path / "pods"
    file.write_text(f"# pods of the test\n{POD4} shop/backup\n{POD6} shop/backup\n{POD2_4} shop/cart\n")
    return file


@contextmanager
def watching(namespace: str, *arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The program, killed if it has not ended by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAFFIC_FOOTPRINT_")}
    command = netns.command(namespace, [*PROGRAM, *arguments])
    with subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env={**environment, "TERM": "xterm"}
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def readings(program: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert program.stdout is not None
    for line in program.stdout:
        yield json.loads(line)


@contextmanager
def connected(
    program: subprocess.Popen[str], net: Network, server: str
) -> Iterator[tuple[Iterator[dict[str, Any]], TcpPair]]:
    """The readings from the second on, and a connection made after the first one: byte accounting was switched
    on before that, and a connection that is older has no counters."""
    shown = readings(program)
    assert next(shown)["elephants"] == []
    with TcpPair(net.pod, net.server, server, listen=server) as pair:
        yield shown, pair


def fed_until_elephant(shown: Iterator[dict[str, Any]], pair: TcpPair) -> dict[str, Any]:
    """The first reading that shows an elephant; the pod sends on until then."""
    for reading in shown:
        if reading["elephants"]:
            return reading
        pair.send(3_000_000)
    raise AssertionError("the program ended")


def owner(reading: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in reading["owners"] if row["name"] == name)
    return found


@pytest.mark.parametrize("server", [SERVER4, SERVER6], ids=["IPv4", "IPv6"])
def test_an_elephant_is_named_with_its_owner_and_its_bytes(net: Network, pods: Path, server: str) -> None:
    arguments = [*QUICK, *ELEPHANTS, "--pods", str(pods), "--output", "json"]
    with watching(net.node, *arguments) as program, connected(program, net, server) as (shown, pair):
        reading = fed_until_elephant(shown, pair)
        pair.send(3_000_000)
        [elephant] = reading["elephants"]
        assert elephant["owners"] == ["shop/backup"]
        assert elephant["protocol"] == "tcp"
        assert elephant["destination"] == (f"[{server}]:8000" if ":" in server else f"{server}:8000")
        assert not elephant["local"]

        from_pod, to_pod = net.settled()
        # A reading may have been taken before the last packets; the second from here on was not.
        next(shown)
        reading = next(shown)
        backup = owner(reading, "shop/backup")
        assert (backup["tx_bytes"], backup["rx_bytes"]) == (from_pod, to_pod)
        assert reading["elephants"][0]["bytes"] == from_pod + to_pod
        assert backup["class"] == "elephant"
        assert owner(reading, "shop/cart")["tx_bytes"] == 0
        assert reading["link"]["capacity"] == {"tx": 10**9, "rx": 10**9}
        assert reading["lost"] == {}

        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 0


def test_without_names_an_elephant_has_its_addresses_and_nobody_as_owner(net: Network) -> None:
    arguments = [*QUICK, *ELEPHANTS, "--output", "json"]
    with watching(net.node, *arguments) as program, connected(program, net, SERVER4) as (shown, pair):
        reading = fed_until_elephant(shown, pair)
        assert reading["elephants"][0]["owners"] == ["unattributed"]
        assert reading["elephants"][0]["source"].startswith(f"{POD4}:")
        assert owner(reading, "unattributed")["tx_bytes"] > 3_000_000
        assert owner(reading, "host")["tx_bytes"] == 0


def test_without_names_everyone_behind_a_virtual_interface_can_be_called_by_address(net: Network) -> None:
    arguments = [*QUICK, *ELEPHANTS, "--addresses", "--output", "json"]
    with watching(net.node, *arguments) as program, connected(program, net, SERVER4) as (shown, pair):
        next(reading for reading in shown if any(row["name"] == POD4 for row in reading["owners"]))
        reading = next(r for r in _fed(shown, pair) if any(e["owners"] == [POD4] for e in r["elephants"]))
        assert owner(reading, POD4)["tx_bytes"] > 0
        assert not any(row["name"] == SERVER4 for row in reading["owners"]), "it is beyond the uplink"
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 0


def _fed(shown: Iterator[dict[str, Any]], pair: TcpPair) -> Iterator[dict[str, Any]]:
    """Readings, while the pod sends."""
    for reading in shown:
        yield reading
        pair.send(3_000_000)


def test_a_name_that_comes_later_owns_the_traffic_from_then_on(net: Network, tmp_path: Path) -> None:
    file = tmp_path / "pods"
    file.write_text("")
    arguments = [*QUICK, "--pods", str(file), "--output", "json"]
    with watching(net.node, *arguments) as program, connected(program, net, SERVER4) as (shown, pair):
        file.write_text("10.99.1.2\n")
        noted = next(reading for reading in shown if any("has no name" in note for note in reading["notes"]))
        assert {row["name"] for row in noted["owners"]} == {"host", "unattributed"}
        file.write_text("10.99.1.2 late\n")
        next(reading for reading in shown if any(row["name"] == "late" for row in reading["owners"]))
        pair.send(500_000)
        assert next(
            r for r in shown if any(row["name"] == "late" and row["tx_bytes"] > 500_000 for row in r["owners"])
        )


def test_once_shows_one_picture_as_lines_and_ends(net: Network, pods: Path) -> None:
    with (
        TcpPair(net.pod, net.server, SERVER4, listen=SERVER4),
        watching(net.node, *QUICK, "--pods", str(pods), "--once") as program,
    ):
        out, err = program.communicate(timeout=PATIENCE)
        assert program.returncode == 0
        heading, *rest = out.splitlines()
        assert " link uplink, 1 Gbit/s per direction, tx " in heading
        assert heading.endswith(", source ctnetlink, 1 flows")
        assert all(line.split()[1] in ("owner", "lost", "note") for line in rest)
        assert err == ""


def test_the_time_asked_for_ends_it(net: Network) -> None:
    with watching(net.node, *QUICK, "--for", "1", "--output", "json") as program:
        out, _ = program.communicate(timeout=PATIENCE)
        assert program.returncode == 0
        assert 1 <= len(out.splitlines()) <= 3


def test_an_output_that_nobody_reads_any_more_ends_it_quietly(net: Network) -> None:
    with watching(net.node, *QUICK, "--output", "json") as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.stdout.close()
        assert program.wait(PATIENCE) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""


def test_the_rule_that_is_recommended_makes_the_kernel_track_both_families(net: Network) -> None:
    with netns.entered(net.server):
        subprocess.run(TRACKING_COMMAND, shell=True, check=True)  # noqa: S602 - as a person would paste it
    with (
        watching(net.server, *QUICK[2:], "--uplink", "eth0", "--output", "json") as program,
        connected(program, net, SERVER4) as (shown, four),
        TcpPair(net.pod, net.server, SERVER6, listen=SERVER6) as six,
    ):
        four.send(100_000)
        six.send(100_000)
        reading = next(r for r in shown if owner(r, "host")["rx_bytes"] > 200_000)
        assert reading["flows"] >= 2
        assert not any("no connection is tracked" in note for note in reading["notes"])


def test_on_a_terminal_the_picture_is_refreshed_in_place_until_ctrl_c(net: Network, pods: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with watching(net.node, *QUICK, "--pods", str(pods), stdout=theirs) as program:
            os.close(theirs)
            seen = _read_until(ours, b"shop/cart", times=3)
            program.send_signal(signal.SIGINT)
            seen += _read_all(ours)
            assert program.wait(PATIENCE) == 0
            assert program.stderr is not None
            assert program.stderr.read() == ""
        assert b"\x1b[1A" in seen  # the cursor went up to draw over the last picture
        assert b"no elephants" in seen
        assert seen.rstrip().endswith(b"\x1b[?25h")  # the cursor is visible again
    finally:
        os.close(ours)


def _read_until(terminal: int, text: bytes, *, times: int) -> bytes:
    seen, end = b"", time.monotonic() + PATIENCE
    while seen.count(text) < times:
        ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
        assert ready, seen
        seen += os.read(terminal, 65536)
    return seen


def _read_all(terminal: int) -> bytes:
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            return seen


def test_without_the_capability_it_ends_with_one_line_that_names_the_remedy(net: Network) -> None:
    command = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", *PROGRAM]
    ended = subprocess.run(
        netns.command(net.node, command), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "run as root" in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--uplink", "nosuch"], "`ip -br link`"), (["--pods", "/nosuch"], "/nosuch: No such file")],
)
def test_what_the_operator_can_mend_is_one_line_and_status_2(
    net: Network, arguments: list[str], told: str
) -> None:
    ended = subprocess.run(
        netns.command(net.node, [*PROGRAM, *arguments]),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert told in line
