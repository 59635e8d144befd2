# SPDX-License-Identifier: Apache-2.0
"""What the preflight says of counting at sockets, and that it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.sources.cgroup import loader, preflight
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.findings import Presence
from tests.nodeagent.sources.cgroup.test_attaching import attached
from tests.nodeagent.sources.cgroup.test_packets import until


@pytest.mark.netns
def test_where_the_programs_attach_it_says_where_and_detaches_them(cgroup: Path) -> None:
    before = attached(cgroup)
    [found] = preflight.findings(cgroup, agent=Options(pins=None))
    assert (found.answer, found.required) == (Presence.YES, False)
    assert found.detail == f"attached to {cgroup}"
    assert until(lambda: attached(cgroup) == before)


def test_beside_an_agent_nothing_is_attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").touch()
    monkeypatch.setattr(loader, "running", lambda *_: True)
    monkeypatch.setattr(loader, "start", lambda *_: pytest.fail("it attached"))
    [found] = preflight.findings(tmp_path)
    assert (found.answer, found.detail) == (Presence.YES, f"an agent measures so here now, at {tmp_path}")


def test_a_root_that_is_not_there_is_a_no_with_its_remedy(tmp_path: Path) -> None:
    [found] = preflight.findings(tmp_path)
    assert (found.answer, found.required) == (Presence.NO, False)
    assert "[no-cgroup]" in found.detail
    assert "--cgroup-root" in found.remedy
