# SPDX-License-Identifier: Apache-2.0
"""What the page brings from npm is what the lock names, byte for byte."""

from __future__ import annotations

import json

import pytest

from lab.page import tools


def test_the_vendored_files_are_those_of_the_locked_package() -> None:
    if tools.npm() is None:
        pytest.skip("node and npm are not here: apt-get install nodejs npm")
    for name, body in tools.vendored().items():
        assert (tools.VENDOR / name).read_bytes() == body, f"{name}: run `python -m lab.page vendor`"
    assert {path.name for path in tools.VENDOR.iterdir()} == set(tools.FILES)


def test_the_lock_names_every_package_by_digest_and_no_registry() -> None:
    lock = json.loads((tools.HERE / "package-lock.json").read_text())
    installed = {path: package for path, package in lock["packages"].items() if path}
    assert set(installed) == {"node_modules/uplot", "node_modules/axe-core", "node_modules/playwright-core"}
    assert all(package["integrity"].startswith("sha512-") for package in installed.values())
    assert not any("resolved" in package for package in installed.values())
    assert [path for path, package in installed.items() if not package.get("dev")] == ["node_modules/uplot"]
