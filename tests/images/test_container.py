# SPDX-License-Identifier: Apache-2.0
"""The command line that runs something inside an image's file system."""

from __future__ import annotations

from pathlib import Path

from lab.images.buildah import pip_conf
from lab.images.container import SCRIPT, Bind, command

CONFIG = {"User": "65532:65532", "Env": ["PATH=/opt/bin:/bin", "A=1"], "Entrypoint": ["program"], "Cmd": ["run"]}


def test_the_images_user_environment_and_command_are_taken() -> None:
    argv = command(Path("/r"), CONFIG, environment={"A": "2"})
    assert argv[argv.index(str(SCRIPT)) + 1] == "/r"
    assert argv[argv.index("--reuid") + 1] == argv[argv.index("--regid") + 1] == "65532"
    assert argv[argv.index("env") :] == ["env", "-i", "PATH=/opt/bin:/bin", "A=1", "A=2", "program", "run"]


def test_arguments_replace_the_images_and_an_entrypoint_replaces_both() -> None:
    assert command(Path("/r"), CONFIG, arguments=["--help"])[-2:] == ["program", "--help"]
    assert command(Path("/r"), CONFIG, entrypoint=["ls"])[-2:] == ["A=1", "ls"]
    assert command(Path("/r"), CONFIG, entrypoint=["ls"], arguments=["/"])[-2:] == ["ls", "/"]


def test_no_capability_is_left_but_those_named() -> None:
    assert "--bounding-set=-all" in command(Path("/r"), CONFIG)
    argv = command(Path("/r"), {}, capabilities=("bpf", "net_admin"))
    assert "--bounding-set=-all,+bpf,+net_admin" in argv
    assert "--inh-caps=-all,+bpf,+net_admin" in argv
    assert argv[argv.index("--reuid") + 1] == "0"


def test_mounts_are_read_only_unless_asked_otherwise() -> None:
    argv = command(Path("/r"), CONFIG, binds=[Bind(Path("/a b"), "/c"), Bind(Path("/d"), "/e", writable=True)])
    first = argv.index("BIND")
    assert argv[first : first + 9] == ["BIND", "/a b", "/c", "ro", "BIND", "/d", "/e", "rw", "RUN"]


def test_a_build_asks_the_index_that_this_machine_asks() -> None:
    assert "index-url = https://pypi.example/simple\n" in pip_conf(
        {"PIP_INDEX_URL": "https://pypi.example/simple"}
    )
    assert "index-url" not in pip_conf({})
