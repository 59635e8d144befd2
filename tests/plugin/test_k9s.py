# SPDX-License-Identifier: Apache-2.0
"""The files for k9s: of the form that k9s reads, and of commands that the plugin has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from extender.model.trafficfootprint import API_VERSION, PLURAL
from footprint.keys import NODE_ELEPHANT_SHARE, NODE_SUMMARY
from plugin.cli import PROGRAM

FOLDER = Path(__file__).parents[2] / "manifests" / "k9s"
CRD = yaml.safe_load((FOLDER.parent / "base" / "crd.yaml").read_text())


def plugins() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "plugins.yaml").read_text())["plugins"]
    return found


def views() -> dict[str, list[str]]:
    return {
        name: view["columns"]
        for name, view in yaml.safe_load((FOLDER / "views.yaml").read_text())["views"].items()
    }


@pytest.mark.parametrize("name", plugins())
def test_a_key_runs_a_command_of_the_plugin_in_the_cluster_on_the_screen(name: str) -> None:
    told = plugins()[name]
    assert {"shortCut", "description", "scopes", "command"} <= told.keys()
    words = shlex.split(" ".join([told["command"], *told["args"]]))
    commands = {command.name.split()[0] for command in PROGRAM.commands}
    run = [words[at + 1] for at, word in enumerate(words) if word == "footprint"]
    assert run
    assert set(run) <= commands
    assert words.count("--context") == len(run)
    assert "$CONTEXT" in told["args"]


def test_no_two_keys_are_alike_in_one_view() -> None:
    keys = [(scope, told["shortCut"]) for told in plugins().values() for scope in told["scopes"]]
    assert len(keys) == len(set(keys))


def test_what_writes_is_confirmed_first() -> None:
    writing = [told for told in plugins().values() if "forget" in " ".join(told["args"])]
    assert writing
    assert all(told["confirm"] and told["dangerous"] for told in writing)


def test_columns_read_annotations_and_fields_that_exist() -> None:
    nodes, learned = views()["v1/nodes"], views()[f"{API_VERSION}/{PLURAL}"]
    paths = [column.partition(":")[2].partition("|")[0] for column in nodes]
    assert [path.replace("\\.", ".") for path in paths if path] == [
        f".metadata.annotations.{key}" for key in (NODE_ELEPHANT_SHARE, NODE_SUMMARY)
    ]
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for column in learned:
        at = schema
        for name in re.findall(r"[A-Za-z]+", column.partition(":")[2].partition("|")[0]):
            at = at["properties"][name]
