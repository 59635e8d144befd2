# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent import preflight
from nodeagent.preflight import as_json, as_text, ready, report
from nodeagent.settings import parse_preflight
from nodeagent.sources.ctnetlink import preflight as ctnetlink
from nodeagent.sources.findings import Finding, Presence

NET_ADMIN = "0000000000001000"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of a well-equipped node."""
    files = {
        "thread-self/status": f"Name:\tx\nCapEff:\t{NET_ADMIN}\n",
        "sys/net/netfilter/nf_conntrack_count": "17\n",
        "sys/net/netfilter/nf_conntrack_acct": "1\n",
        "net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n",
    }
    for name, text in files.items():
        path = tmp_path / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "proc"


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    speed = tmp_path / "sys/class/net/eth0/speed"
    speed.parent.mkdir(parents=True)
    speed.write_text("10000\n")
    (speed.parent / "device").mkdir()
    (speed.parent / "device" / "driver").symlink_to("../../../bus/pci/drivers/ixgbe")
    return tmp_path / "sys"


def test_a_well_equipped_node_answers_yes_throughout(proc: Path, sys: Path) -> None:
    found = [ctnetlink.probe_privilege(proc), ctnetlink.probe_conntrack(proc), ctnetlink.probe_accounting(proc)]
    found += preflight.probe_uplink(None, proc=proc, sys=sys)
    assert [f.answer for f in found] == [Presence.YES] * 5
    assert [f.detail for f in found[3:]] == ["eth0 (default route)", "10 Gbit/s"]


def test_a_missing_capability_names_its_remedy(proc: Path) -> None:
    (proc / "thread-self/status").write_text("CapEff:\t0000000000000000\n")
    found = ctnetlink.probe_privilege(proc)
    assert found.answer is Presence.NO
    assert "NET_ADMIN" in found.remedy


def test_what_proc_does_not_show_could_not_be_told(tmp_path: Path) -> None:
    for found in (
        ctnetlink.probe_privilege(tmp_path),
        ctnetlink.probe_conntrack(tmp_path),
        ctnetlink.probe_accounting(tmp_path),
    ):
        assert found.answer is Presence.UNKNOWN
        assert found.remedy


def test_a_kernel_without_conntrack_is_told_which_module_to_load(proc: Path) -> None:
    (proc / "sys/net/netfilter/nf_conntrack_count").unlink()
    found = ctnetlink.probe_conntrack(proc)
    assert (found.answer, found.remedy) == (Presence.NO, "run `modprobe nf_conntrack`")


def test_a_table_without_entries_is_said_to_depend_on_rules(proc: Path) -> None:
    (proc / "sys/net/netfilter/nf_conntrack_count").write_text("0")
    found = ctnetlink.probe_conntrack(proc)
    assert found.answer is Presence.YES
    assert "rule" in found.detail


def test_accounting_that_the_agent_can_switch_on_forbids_nothing(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (proc / "sys/net/netfilter/nf_conntrack_acct").write_text("0")
    found = ctnetlink.probe_accounting(proc)
    assert found.answer is Presence.NO
    assert ready([found])
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not ready([ctnetlink.probe_accounting(proc)])


BY_FENTRY = Finding("eBPF on conntrack by fentry", Presence.YES, "attached", required=False)


def test_accounting_that_nobody_can_switch_on_forbids_nothing_where_ebpf_counts(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (proc / "sys/net/netfilter/nf_conntrack_acct").write_text("0")
    monkeypatch.setattr("os.access", lambda *_: False)
    found = [ctnetlink.probe_accounting(proc)]
    [without] = preflight.needed(found, [BY_FENTRY])
    assert ready([without])
    assert "eBPF does without it" in without.detail
    assert not ready(preflight.needed(found, [replace(BY_FENTRY, answer=Presence.UNKNOWN)]))


def test_a_pod_may_switch_accounting_on_where_the_nodes_switches_are_mounted(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (proc / "sys/net/netfilter/nf_conntrack_acct").write_text("0\n")
    node = tmp_path / "node"
    monkeypatch.setattr("os.access", lambda path, _mode: proc not in path.parents and path.exists())
    assert not ready([ctnetlink.probe_accounting(proc, node)])
    (node / "netfilter").mkdir(parents=True)
    (node / "netfilter/nf_conntrack_acct").write_text("0\n")
    assert ready([ctnetlink.probe_accounting(proc, node)])


@pytest.mark.parametrize(
    ("code", "answer", "remedy"),
    [
        (errno.EPERM, Presence.NO, "NET_ADMIN"),
        (errno.EPROTONOSUPPORT, Presence.NO, "modprobe nf_conntrack_netlink"),
        (errno.ENOBUFS, Presence.UNKNOWN, "again"),
    ],
)
def test_a_refused_socket_is_judged_by_its_error(
    monkeypatch: pytest.MonkeyPatch, code: int, answer: Presence, remedy: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(ctnetlink, "ConntrackSockets", refuse)
    for found in ctnetlink.probe_ctnetlink():
        assert found.answer is answer
        assert remedy in found.remedy


@pytest.mark.parametrize("speed", ["-1\n", "", None], ids=["unknown", "empty", "absent"])
def test_a_link_without_speed_asks_for_its_capacity(proc: Path, sys: Path, speed: str | None) -> None:
    path = sys / "class/net/eth0/speed"
    path.unlink() if speed is None else path.write_text(speed)
    _, found = preflight.probe_uplink(None, proc=proc, sys=sys)
    assert found.answer is Presence.NO
    assert "--link-capacity" in found.remedy


def test_a_speed_that_a_virtual_device_makes_up_is_none(proc: Path, sys: Path) -> None:
    (sys / "class/net/eth0/device/driver").unlink()
    _, found = preflight.probe_uplink(None, proc=proc, sys=sys)
    assert (found.answer, found.detail) == (Presence.NO, "eth0 states none that can be believed")


def test_without_a_default_route_the_uplink_must_be_named(proc: Path, sys: Path) -> None:
    (proc / "net/route").write_text("header\n")
    uplink, speed = preflight.probe_uplink(None, proc=proc, sys=sys)
    assert (uplink.answer, speed.answer) == (Presence.NO, Presence.UNKNOWN)
    assert "--uplink" in uplink.remedy


def test_each_of_several_named_interfaces_must_be_there(proc: Path, sys: Path) -> None:
    (proc / "net/dev").write_text("Inter-\n face\n  eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n")
    uplink, _ = preflight.probe_uplink("eth0,eth7", proc=proc, sys=sys)
    assert uplink.answer is Presence.NO
    assert "eth7" in uplink.detail
    uplink, _ = preflight.probe_uplink("eth0", proc=proc, sys=sys)
    assert (uplink.answer, uplink.detail) == (Presence.YES, "eth0")


def test_an_interface_that_is_not_there_is_named(proc: Path, sys: Path) -> None:
    uplink, _ = preflight.probe_uplink("eth7", proc=proc, sys=sys)
    assert uplink.answer is Presence.NO
    assert "eth7" in uplink.detail


FINDINGS = (
    Finding("first", Presence.YES, "here"),
    Finding("the second", Presence.NO, "absent", "install it"),
    Finding("third", Presence.UNKNOWN, "hidden", "look", required=False),
)


def test_the_text_is_aligned_and_gives_remedies_only_where_needed() -> None:
    assert as_text(FINDINGS) == (
        "first       yes: here\n"
        "the second  no: absent\n"
        "            remedy: install it\n"
        "third       could not tell (not required): hidden\n"
        "            remedy: look\n"
        "this node cannot be measured as it is"
    )


def test_the_json_holds_the_same() -> None:
    value = json.loads(json.dumps(as_json(FINDINGS)))
    assert value["ready"] is False
    assert value["findings"][1] == {
        "capability": "the second", "answer": "no", "detail": "absent", "remedy": "install it", "required": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "required", "expected"),
    [
        (Presence.YES, True, True),
        (Presence.NO, True, False),
        (Presence.NO, False, True),
        (Presence.UNKNOWN, True, True),
    ],
)
def test_only_a_clear_no_to_something_required_forbids_measuring(
    answer: Presence, required: bool, expected: bool
) -> None:
    assert ready([Finding("x", answer, required=required)]) is expected


@pytest.mark.netns
def test_a_fresh_namespace_can_be_dumped_and_listened_to(capsys: pytest.CaptureFixture[str]) -> None:
    name = "tft-preflight"
    netns.create(name)
    try:
        with netns.entered(name):
            status = report(parse_preflight(["--output", "json"]))
    finally:
        netns.delete(name)
    value = json.loads(capsys.readouterr().out)
    answers = {found["capability"]: found["answer"] for found in value["findings"]}
    assert status == 0
    assert answers["ctnetlink dump"] == answers["ctnetlink events"] == "yes"
    assert answers["byte accounting"] == "no"
