# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.network import netns

pytestmark = pytest.mark.netns

PREFIX = f"tf-tnetns{os.getpid()}-"
NAME = f"{PREFIX}a"
NEVER = f"{PREFIX}never"


@pytest.fixture
def namespace() -> Iterator[str]:
    netns.delete(NAME)
    netns.create(NAME)
    yield NAME
    netns.delete(NAME)


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def test_loopback_works_in_a_new_namespace(namespace: str) -> None:
    with netns.entered(namespace), socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=2).close()


def test_a_thread_comes_back_even_after_an_error(namespace: str) -> None:
    before = here()
    inside = 0
    try:
        with netns.entered(namespace):
            inside = here()
            raise RuntimeError
    except RuntimeError:
        pass
    assert inside not in (0, before)
    assert here() == before


def test_enter_and_leave_are_symmetric(namespace: str) -> None:
    before = here()
    previous = netns.enter(namespace)
    assert here() == (netns.DIRECTORY / namespace).stat().st_ino
    netns.leave(previous)
    assert here() == before


def test_a_command_sees_only_the_namespaces_interfaces(namespace: str) -> None:
    done = subprocess.run(
        netns.command(namespace, ["ls", "/sys/class/net"]), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["lo"]


def test_deleting_ends_the_processes_inside(namespace: str) -> None:
    with subprocess.Popen(netns.command(namespace, ["sleep", "100"]), stdout=subprocess.PIPE) as process:
        while not netns.pids([namespace]):
            assert process.poll() is None
        netns.delete(namespace)
        assert process.wait(10) == -9
    assert not netns.exists(namespace)


def test_deleting_what_is_not_there_is_no_error() -> None:
    netns.delete(NEVER)


def test_a_missing_namespace_is_named_with_the_remedy() -> None:
    with pytest.raises(netns.NamespaceError, match=rf"{NEVER} is not there.*start its lab"):
        netns.enter(NEVER)


def test_making_one_twice_is_refused(namespace: str) -> None:
    with pytest.raises(netns.NamespaceError, match="were not made"):
        netns.create(namespace)


def test_names_are_listed_by_prefix(namespace: str) -> None:
    assert netns.list_names(PREFIX) == [namespace]
