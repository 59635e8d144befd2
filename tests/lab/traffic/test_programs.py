# SPDX-License-Identifier: Apache-2.0
"""The traffic programs as they are run in pods, here over loopback: what one end reports the other end saw."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from lab import traffic
from lab.traffic import common, histogram, mouse
from lab.traffic.mouse_server import MalformedError, answers


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


_held: list[socket.socket] = []


@pytest.fixture(autouse=True)
def ports() -> Iterator[None]:
    """Ports are held until the test ends."""
    yield
    while _held:
        _held.pop().close()


def free_port() -> int:
    """A port that nothing else is given meanwhile: bound, but not listening, so that a program which asks for it
    by number (with SO_REUSEADDR, as the lab's servers do) gets it, as often as it likes."""
    holder = socket.socket(socket.AF_INET6)
    _held.append(holder)
    holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("::", 0))
    return int(holder.getsockname()[1])


def start(running: list[subprocess.Popen[str]], program: str, *arguments: str) -> subprocess.Popen[str]:
    running.append(subprocess.Popen(traffic.argv(program, *arguments), stdout=subprocess.PIPE, text=True))
    return running[-1]


def serve(
    running: list[subprocess.Popen[str]], program: str, port: int | None = None
) -> tuple[subprocess.Popen[str], int]:
    port = port or free_port()
    process = start(running, program, "--port", str(port))
    assert "listening" in line(process)
    return process, port


def line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it prints next."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=120)
    final: dict[str, Any] = json.loads(output.splitlines()[-1])
    return final


def stopped(process: subprocess.Popen[str]) -> dict[str, Any]:
    process.terminate()
    return result(process)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize(
    "mode", [[], ["--new-connection"], ["--new-share", "0.5", "--seed", "7"], ["--protocol", "udp"]]
)
def test_every_mouse_is_answered_and_every_byte_counted(
    running: list[subprocess.Popen[str]], host: str, mode: list[str]
) -> None:
    server, port = serve(running, "mouse_server")
    sizes = ["--request-bytes", "300", "--response-bytes", "700"]
    client = start(running, "mouse", f"{host}:{port}", "--rate", "200", "--seconds", "0.5", *sizes, *mode)
    final, served = result(client), stopped(server)
    assert final["sent"] == final["answered"] == sum(final["histogram"].values()) > 50
    assert final["lost"] == 0
    assert final["tx_bytes"] == served["rx_bytes"] == 300 * final["sent"]
    assert final["rx_bytes"] == served["tx_bytes"] == 700 * final["sent"]
    if "udp" not in mode:
        assert final["tcp"]["bytes_received"] >= final["rx_bytes"]
        assert final["connections"] == served["connections"]


def test_a_stall_shows_in_every_request_that_fell_due_meanwhile(running: list[subprocess.Popen[str]]) -> None:
    server, port = serve(running, "mouse_server")
    client = start(running, "mouse", f"127.0.0.1:{port}", "--rate", "200", "--seconds", "4")
    while "starting" not in line(client):
        pass
    os.kill(server.pid, signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(1.0)
    ended = time.monotonic()
    os.kill(server.pid, signal.SIGCONT)
    final = result(client)
    slow = sum(n for index, n in final["histogram"].items() if histogram.midpoint(int(index)) > 100_000)
    # About 180 requests were due in the 0.9 s that began at least 0.1 s before the end of the stall, more if the
    # machine made it longer; a client that waits for answers would have seen one slow answer for each of its 4
    # connections.
    first = final["started"]["monotonic"]
    due = 200 * (min(ended - 0.1, first + 4) - max(began, first))
    assert slow > max(due * 0.9, 100)
    assert final["answered"] == final["sent"] == 800


def test_a_lost_server_is_counted_and_its_return_used(running: list[subprocess.Popen[str]]) -> None:
    server, port = serve(running, "mouse_server")
    options = ["--rate", "100", "--connections", "2", "--report", "0.1"]
    client = start(running, "mouse", f"127.0.0.1:{port}", *options)
    while not line(client).get("progress"):
        pass
    stopped(server)
    while not (counted := line(client)).get("lost"):
        pass
    answered_before = counted["progress"]
    serve(running, "mouse_server", port)
    while line(client).get("progress", 0) <= answered_before:
        pass
    final = stopped(client)
    assert final["lost"] > 0
    assert final["answered"] > answered_before
    assert final["answered"] + final["lost"] == final["sent"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_elephants_bytes_all_arrive(running: list[subprocess.Popen[str]], host: str) -> None:
    sink, port = serve(running, "sink")
    arguments = [f"{host}:{port}", "--bytes", "20000000", "--connections", "2"]
    sent, received = result(start(running, "elephant", *arguments)), stopped(sink)
    assert sent["bytes"] == 20_000_000 + 2 * common.MODE.size
    assert sent["complete"]
    assert received["ended"] == 2
    assert sent["goodput"] == pytest.approx(sent["bytes"] * 8 / sent["seconds"])


def test_an_elephant_can_be_fed_instead(running: list[subprocess.Popen[str]]) -> None:
    _, port = serve(running, "sink")
    got = result(start(running, "elephant", f"127.0.0.1:{port}", "--bytes", "5000000", "--reverse"))
    assert 5_000_000 <= got["bytes"] <= 5_000_001  # the kernel counts the FIN
    assert got["complete"]


def test_an_elephant_waits_for_its_sink(running: list[subprocess.Popen[str]]) -> None:
    port = free_port()
    elephant = start(running, "elephant", f"127.0.0.1:{port}", "--bytes", "1000000")
    time.sleep(0.5)
    assert elephant.poll() is None
    start(running, "sink", "--port", str(port))
    assert result(elephant)["complete"]


@pytest.mark.parametrize("program", ["elephant", "mouse"])
def test_a_client_that_never_reached_its_server_says_so(
    running: list[subprocess.Popen[str]], program: str
) -> None:
    client = start(running, program, f"127.0.0.1:{free_port()}")
    line(client)
    final = stopped(client)
    assert not final["started"]
    assert client.returncode == 1


def test_sigterm_ends_an_elephant_with_what_it_carried(running: list[subprocess.Popen[str]]) -> None:
    sink, port = serve(running, "sink")
    elephant = start(running, "elephant", f"127.0.0.1:{port}", "--rate", "80M", "--report", "0.2")
    while not line(elephant).get("progress"):
        pass
    final = stopped(elephant)
    assert final["bytes"] > 0
    assert not final["complete"]
    assert stopped(sink)["tcp"]["bytes_received"] >= final["bytes"] // 2


@pytest.mark.parametrize("program", ["sink", "mouse_server"])
def test_a_port_in_use_is_one_line_with_the_remedy(program: str) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        argv = traffic.argv(program, "--port", str(taken.getsockname()[1]))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "choose" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["nonsense", "host.example:80", "1.2.3.4:x", ""])
def test_a_target_that_is_no_address_is_refused(text: str) -> None:
    done = subprocess.run(traffic.argv("mouse", text), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "write ADDRESS:PORT" in done.stderr


def test_arrivals_are_even_without_a_seed_and_the_same_poisson_process_with_one() -> None:
    assert list(islice(mouse.schedule(10, None), 3)) == [0.0, 0.1, 0.2]
    drawn = list(islice(mouse.schedule(100, 5), 10_000))
    assert drawn == list(islice(mouse.schedule(100, 5), 10_000))
    assert drawn == sorted(drawn)
    assert drawn[-1] == pytest.approx(100, rel=0.05)


def request(number: int, size: int, wanted: int) -> bytes:
    return common.HEADER.pack(number, size, wanted) + bytes(size - common.HEADER.size)


def test_requests_are_answered_in_order_and_a_partial_one_is_kept() -> None:
    received = bytearray(request(1, 20, 30) + request(2, 16, 16) + request(3, 40, 16)[:25])
    out = answers(received)
    assert out == common.HEADER.pack(1, 30, 0) + bytes(14) + common.HEADER.pack(2, 16, 0)
    assert received == request(3, 40, 16)[:25]


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\n\r\n", common.HEADER.pack(1, 4, 4), common.HEADER.pack(1, 16, 2**31)]
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        answers(bytearray(raw))
