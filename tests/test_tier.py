# SPDX-License-Identifier: Apache-2.0
"""A tier goes on where it stopped; a run of hostile inputs that is too small fails. Each runs pytest for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import fuzzing

CHECKOUT = Path(__file__).parents[1]

TESTS = """
import os
from pathlib import Path
import pytest

HERE = Path(__file__).parent

def noted(name):
    with (HERE / "ran").open("a") as file:
        file.write(name + "\\n")

def test_passes():
    noted("passes")

@pytest.mark.parametrize("n", [1, 2])
def test_fails_at_first(n):
    noted(f"fails-{n}")
    assert n == 1 or (HERE / "mended").exists()

@pytest.fixture
def untidy():
    yield
    assert (HERE / "mended").exists()

def test_fails_in_its_teardown(untidy):
    noted("untidy")

def test_is_skipped():
    noted("skipped")
    pytest.skip("why not")

def test_ends_the_run():
    noted("ends")
    if not (HERE / "mended").exists():
        os._exit(9)

def test_comes_after():
    noted("after")
"""

CONFTEST = """
from pathlib import Path
from tests import tier
tier.RESULTS = Path(__file__).parent / "results"

def pytest_addoption(parser):
    tier.add_options(parser)

def pytest_configure(config):
    tier.configure(config)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder of tests with the plugin, and nothing of this project's settings."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_suite.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(suite: Path, *options: str) -> int:
    """pytest's exit status; what ran is in ``ran``."""
    (suite / "ran").write_text("")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tier=trial", *options, str(suite)]
    plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins of others take seconds to load
    return subprocess.run(argv, cwd=CHECKOUT, env=plain, capture_output=True, check=False).returncode


def ran(suite: Path) -> list[str]:
    return (suite / "ran").read_text().split()


def counts(suite: Path) -> dict[str, int]:
    counted: dict[str, int] = json.loads((suite / "results" / "trial.json").read_text())
    return counted


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["one process", "workers"])
def test_a_run_goes_on_with_all_that_has_not_passed(suite: Path, workers: tuple[str, ...]) -> None:
    deselected = ("--deselect", "test_suite.py::test_ends_the_run")
    assert run(suite, *workers, *deselected) == 1
    assert counts(suite) == {"passed": 3, "failed": 2, "skipped": 1, "passed in an earlier run": 0}
    failed = (suite / "results" / "trial.failed").read_text().splitlines()
    assert [name.rpartition("::")[2] for name in failed] == [
        "test_fails_at_first[2]",
        "test_fails_in_its_teardown",
    ]
    (suite / "mended").touch()
    assert run(suite, *workers, *deselected, "--resume") == 0
    assert ran(suite) == ["fails-2", "untidy", "skipped"]
    assert counts(suite) == {"passed": 2, "failed": 0, "skipped": 1, "passed in an earlier run": 3}
    assert run(suite, *workers, *deselected) == 0
    assert len(ran(suite)) == 6, "a run that does not resume runs everything"


def test_each_part_that_failed_is_named(suite: Path) -> None:
    (suite / "test_suite.py").write_text("""
def test_parts(subtests):
    for part in "abc":
        with subtests.test(part):
            assert part == "b"
""")
    assert run(suite) == 1
    failed = (suite / "results" / "trial.failed").read_text().splitlines()
    assert [name.rpartition("::")[2] for name in failed][:2] == ["test_parts [a]", "test_parts [c]"]


def test_a_run_that_was_ended_goes_on_with_what_it_never_reached(suite: Path) -> None:
    assert run(suite) == 9
    (suite / "mended").touch()
    assert run(suite, "--resume") == 0
    assert ran(suite) == ["fails-2", "untidy", "skipped", "ends", "after"]


def test_nothing_left_to_run_has_passed(suite: Path) -> None:
    (suite / "mended").touch()
    chosen = ("-k", "passes or after")
    assert run(suite, *chosen) == 0
    assert run(suite, *chosen, "--resume") == 0
    assert ran(suite) == []
    assert run(suite, "-k", "nothing_of_that_name") == 5, "a tier without tests has not passed"


def test_a_kind_of_hostile_input_that_was_tried_too_seldom_is_named() -> None:
    enough = Counter({kind: fuzzing.examples(kind) for kind in fuzzing.WANTED})
    assert fuzzing.short(enough) == []
    assert fuzzing.short(enough - Counter(annotations=1)) == ["annotations"]
    assert f"annotations {fuzzing.examples('annotations'):>13,} tried" in "\n".join(fuzzing.report(enough))


def test_an_everyday_run_tries_a_tenth() -> None:
    wanted = fuzzing.WANTED["BTF blobs"]
    assert fuzzing.examples("BTF blobs") == (wanted if fuzzing.fuzzes() else wanted // 10)


def test_a_kind_that_is_misspelt_is_an_error() -> None:
    with pytest.raises(KeyError, match="no kind of input"):
        fuzzing.tried("annotation")
