# SPDX-License-Identifier: Apache-2.0
"""What a predecessor left in a real bpf file system, taken over or not. No hook is attached: maps stand for links
and programs, whose pins are alike."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodeagent.sources.base import HOST, Locality, LossKind
from nodeagent.sources.ebpf import loader, preflight
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.compiling.build import Build, BuildRequest
from nodeagent.sources.ebpf.compiling.hooks import Mode, Plan
from nodeagent.sources.ebpf.kernel import bpf, maps
from nodeagent.sources.ebpf.kernel.layout import STATS, SlotCounters
from nodeagent.sources.ebpf.kernel.maps import Maps, MapSpec, Sizes
from nodeagent.sources.ebpf.loader import Options, Session
from nodeagent.sources.ebpf.programs import Programs
from nodeagent.sources.ebpf.source import EbpfSource
from nodeagent.sources.findings import Presence
from nodeagent.unload import unload

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a bpf file system needs root")

SIZES = Sizes(flows=64, addresses=8, slots=6, seeds=8, elephants=8, event_bytes=4096)
ROLES = ("account", "birth", "death")
FUNCTIONS = ("nf_ct_acct_add", "__nf_conntrack_hash_insert", "nf_conntrack_free")
A = b"\x0a\0\0\1"


def stand_in() -> int:
    return bpf.map_create(bpf.MapType.ARRAY, key_size=4, value_size=4, max_entries=1)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A bpf file system of the test's own."""
    mounted = tmp_path / "bpf"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "bpf", "bpf", mounted], check=False).returncode:
        pytest.skip("no bpf file system can be mounted here")
    try:
        yield mounted / "traffic-footprint"
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.fixture
def options(root: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Under which a source starts without attaching anything."""

    def start(options: Options) -> Session:
        made = Programs({role: stand_in() for role in ROLES}, {role: stand_in() for role in ROLES})
        return Session(Maps.create(options.sizes), made, "kprobe", FUNCTIONS)

    monkeypatch.setattr(loader, "start", start)
    monkeypatch.setattr(Programs, "misses", lambda _: 0)
    return Options(sizes=SIZES, pins=root)


def opened(options: Options) -> EbpfSource:
    source = EbpfSource(locality=Locality(pods={A: "a"}), options=options)
    source.open()
    return source


def left(options: Options) -> Path:
    """The pins of an agent that kept its program."""
    source = opened(options)
    assert not source.adopted
    source.keep = True
    source.close()
    assert options.pins is not None
    return options.pins / str(loader.own_namespace())


def test_a_kept_program_is_taken_over_whole_with_how_it_is_attached(options: Options) -> None:
    left(options)
    source = opened(options)
    assert (source.adopted, source.mode, source.name) == (True, "kprobe", "ebpf-kprobe")
    assert source._session is not None
    assert source._session.functions == FUNCTIONS
    assert set(source._session.programs.loaded) == set(source._session.programs.links) == set(ROLES)
    source.close()


def test_a_source_that_does_not_keep_leaves_nothing(options: Options) -> None:
    here = left(options)
    opened(options).close()
    assert not here.exists()


@pytest.mark.parametrize("missing", [*(f"link-{role}" for role in ROLES), "program-death", "flows"])
def test_what_is_not_whole_is_unloaded(options: Options, missing: str) -> None:
    here = left(options)
    (here / missing).unlink()
    assert loader.adopt(options) is None
    assert not here.exists()


def test_a_hook_too_many_is_not_ours(options: Options) -> None:
    here = left(options)
    fd = stand_in()
    bpf.pin(fd, here / "link-other")
    os.close(fd)
    assert loader.adopt(options) is None


def test_a_map_of_another_layout_is_never_read(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    here = left(options)

    def larger(sizes: Sizes) -> tuple[MapSpec, ...]:
        return tuple(replace(s, value_size=s.value_size + 8 * (s.name == "config")) for s in specs(sizes))

    specs = maps.specs
    with monkeypatch.context() as newer:  # which lays out its configuration otherwise
        newer.setattr(maps, "specs", larger)
        fds = Maps.create(SIZES).fds
    (here / "config").unlink()
    bpf.pin(fds["config"], here / "config")
    for fd in fds.values():
        os.close(fd)
    monkeypatch.setattr(Maps, "read_config", lambda _: pytest.fail("48 bytes would be written into 40"))
    assert loader.adopt(options) is None
    assert not here.exists()


def test_losses_that_a_predecessor_knew_are_no_news(options: Options) -> None:
    source = opened(options)
    count(source, "stats", STATS.index("STAT_LOST_READ"), (7).to_bytes(8, "little"))
    assert source.read(1.0).lost == {LossKind.UPDATES_FAILED: 7}
    source.keep = True
    source.close()
    successor = opened(options)
    assert successor.read(2.0).lost == {}
    count(successor, "stats", STATS.index("STAT_LOST_READ"), (9).to_bytes(8, "little"))
    assert successor.read(3.0).lost == {LossKind.UPDATES_FAILED: 2}
    successor.close()


def test_counters_go_on_where_the_predecessor_left_them(options: Options) -> None:
    source = opened(options)
    count(source, "counters", 1, bytes(SlotCounters(tag=1, tx_bytes=5)))
    source.keep = True
    source.close()
    successor = opened(options)
    assert successor.read(1.0).owners[HOST].tx_bytes == 5
    successor.close()


def count(source: EbpfSource, name: str, slot: int, value: bytes) -> None:
    """Write a per-CPU entry as the first CPU."""
    assert source._session is not None
    others = bytes(len(value)) * (bpf.possible_cpus() - 1)
    bpf.map_update(source._session.maps.fds[name], slot.to_bytes(4, "little"), value + others)


def test_unload_removes_what_was_left_in_every_namespace(
    options: Options, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = left(options)
    monkeypatch.setattr(loader, "own_namespace", lambda: 77)
    there = left(options)
    assert options.pins is not None
    assert unload(options.pins, options.pins / "none") == 0
    assert not options.pins.exists()
    assert {f"unloaded {here}", f"unloaded {there}"} <= set(capsys.readouterr().out.splitlines())


def test_unload_with_nothing_to_do_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unload(tmp_path / "none", tmp_path / "none") == 0
    assert capsys.readouterr().out == "nothing was left behind\n"


def test_what_unload_cannot_remove_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1" / "not a pin").mkdir(parents=True)
    assert unload(tmp_path, tmp_path / "none") == 1
    assert str(tmp_path / "1") in capsys.readouterr().err


def test_unload_removes_compiled_programs_and_nothing_else_from_their_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "somebody's").write_text("x")
    cache.keep(tmp_path, bytes(32), b"content")
    assert unload(tmp_path / "none", tmp_path) == 0
    assert capsys.readouterr().out == f"removed {tmp_path / (bytes(32).hex() + '.object')}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's"]


def test_a_compiled_program_that_unload_cannot_remove_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder := tmp_path / f"{bytes(32).hex()}.object").mkdir()
    assert unload(tmp_path / "none", tmp_path) == 1
    assert f"error: {folder} cannot be removed" in capsys.readouterr().err


def test_who_measures_in_another_way_leaves_no_predecessors_program(options: Options) -> None:
    here = left(options)
    loader.disown(options)
    assert not here.exists()


def test_the_preflight_beside_an_agent_attaches_nothing_and_leaves_its_program(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = opened(options)
    here, before = _pins(options), _stat(running)

    def attach(_: object) -> Session:
        raise AssertionError("a trial would take the agent's memory, and change the code that it hooks")

    monkeypatch.setattr(loader, "start", attach)
    monkeypatch.setattr(preflight, "build", attach)
    found = {finding.capability: finding for finding in preflight.findings(agent=options)}
    by_kprobe, by_fentry = (found[f"eBPF on conntrack by {mode}"] for mode in (Mode.KPROBE, Mode.FENTRY))
    assert (by_kprobe.answer, by_fentry.answer) == (Presence.YES, Presence.UNKNOWN)
    assert by_kprobe.detail == f"an agent measures so here now, attached to {', '.join(FUNCTIONS)}"
    assert [found[name].answer for name in ("bcc", "kernel types (BTF) of conntrack")] == [
        Presence.UNKNOWN, Presence.YES,
    ]  # fmt: skip
    assert preflight.measures(found.values())
    assert (_pins(options), _stat(running)) == (here, before)
    running.close()


@pytest.mark.parametrize("writable", [True, False])
def test_a_preflights_trials_share_what_one_of_them_compiled_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    folders: list[Path | None] = []

    def compiled(request: BuildRequest) -> Build:
        folders.append(request.kept)
        return Build(Plan(request.mode, "", (), {}), {})

    def begun(options: Options) -> Session:
        folders.append(options.kept)
        raise OSError("this is all that is asked")

    monkeypatch.setattr(preflight, "build", compiled)
    monkeypatch.setattr(loader, "start", begun)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path if writable else tmp_path / "none"))
    preflight.findings(agent=Options(pins=None))
    assert len(folders) == 3
    assert (folders[0] is not None) is writable
    assert len(set(folders)) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left_by", ["nobody", "another build"])
def test_the_preflight_tries_where_no_agent_of_this_build_measures(
    options: Options, monkeypatch: pytest.MonkeyPatch, left_by: str
) -> None:
    if left_by == "another build":
        left(options)
        monkeypatch.setattr(loader, "fingerprint", lambda *_: 1)
    assert loader.running(options) is None
    assert bool(_pins(options)) is (left_by == "another build"), "what is there must stay"


def _pins(options: Options) -> list[str]:
    assert options.pins is not None
    return sorted(path.name for path in options.pins.rglob("*"))


def _stat(source: EbpfSource) -> dict[str, int]:
    """What the kernel has been asked to count, and whether the session is whole."""
    assert source._session is not None
    return source._session.maps.stats()
