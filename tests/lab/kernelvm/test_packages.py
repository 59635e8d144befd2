# SPDX-License-Identifier: Apache-2.0
"""Which of a machine's apt sources serve the guest's release."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernelvm import packages

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/other
Suites: nodistro
Components: main

Types: deb-src
URIs: http://mirror.example/sources
Suites: bookworm
Components: main

Types: deb
Enabled: no
URIs: http://mirror.example/off
Suites: bookworm
Components: main
"""


def test_a_deb822_stanza_becomes_one_entry_per_suite_of_the_release() -> None:
    assert list(packages.select(DEB822, ".sources")) == [
        "deb [signed-by=/usr/share/keyrings/debian.gpg] http://mirror.example/debian bookworm main",
        "deb [signed-by=/usr/share/keyrings/debian.gpg] http://mirror.example/debian bookworm-updates main",
    ]


def test_one_line_entries_of_other_distributions_are_left_out() -> None:
    text = (
        "deb [arch=amd64] http://mirror.example/debian bookworm-security main contrib\n"
        "deb http://mirror.example/tools tools-bookworm main\n"
        "# deb http://mirror.example/debian bookworm main\n"
    )
    assert list(packages.select(text, ".list")) == [text.splitlines()[0]]


def test_a_machine_without_a_source_for_the_release_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(packages.SOURCES_VARIABLE, raising=False)
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian trixie main\n")
    with pytest.raises(LabError, match=packages.SOURCES_VARIABLE):
        packages.sources(tmp_path)


def test_a_sources_file_that_was_named_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tmp_path / "mine.list"
    chosen.write_text("deb http://mirror.example/debian anything main\n")
    monkeypatch.setenv(packages.SOURCES_VARIABLE, str(chosen))
    assert packages.sources(tmp_path) == chosen.read_text()


def test_a_sources_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(packages.SOURCES_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(LabError, match="absent"):
        packages.sources(tmp_path)
