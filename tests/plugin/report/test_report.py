# SPDX-License-Identifier: Apache-2.0
"""The report: one file that needs nothing, escapes everything, and can do without names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from extender.model.trafficfootprint import new_object
from footprint.classes import TrafficClass
from footprint.models import LinkRates, PodFootprint, Uplink
from plugin.cli import main
from plugin.doctor.diagnose import diagnose
from plugin.doctor.names import Anonymiser
from plugin.report.page import page
from plugin.report.rows import MOST, tables
from tests.plugin.api_server import kubeconfig
from tests.plugin.doctor.cluster import (
    APPS,
    LEASES,
    NODES,
    OURS,
    RECORDS,
    M,
    facts,
    footprint,
    healthy,
    lease,
    node,
    pod,
)

CHECKOUT = Path(__file__).parents[3]
STATUS = {
    "class": "elephant", "samples": 50, "confidence": 94, "lastSeen": "2026-01-01T00:00:00Z",
    "elephants": {"tx": {"typical": "90M", "peak": "150M"}, "rx": {"typical": "0", "peak": "0"}},
    "mice": {"weight": 0, "flowsPerSecond": 0},
}  # fmt: skip


def rich() -> dict[str, Any]:
    """A cluster with something of everything."""
    state = healthy()
    gigabit = LinkRates(1e9, 1e9)
    links = (Uplink("eth0", gigabit, "stated"), Uplink("eth1", gigabit, "stated", full=("tx",)))
    state[NODES] = [node("n1"), node("n2", footprint(uplinks=links)), node("n3", ""), node("n4", "{")]
    state[LEASES].append(lease("n4", ago=9000))
    state[RECORDS] = [
        {**new_object(("lake", "Job/copy")), "status": STATUS},
        {**new_object(("shop", "Deployment/web")), "spec": {"workload": "Deployment/web", "class": "mouse"}},
        {**new_object(("shop", "Rollout.argoproj/canary")), "spec": {"workload": "Rollout/canary"}},
    ]
    state[f"{OURS}/services"] = 403
    return state


class Read(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "every element ends where it should"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def made(state: dict[str, Any], *, anonymise: bool = False) -> str:
    found = facts(state)
    return page(found, diagnose(found), Anonymiser() if anonymise else None)


def test_it_shows_findings_versions_nodes_pods_and_workloads() -> None:
    read = Read(made(rich()))
    assert read.open == []
    text = " ".join(read.text)
    for word in ("Findings", "Versions", "Nodes", "Measured pods", "Workloads", "n1", "copy-1", "Job/copy",
                 "v1.37.2", "└ eth1", "full in tx", "its annotation is no footprint", "90 Mbit/s, peak 150 Mbit/s",
                 "Could not look at services", "kubectl create role"):  # fmt: skip
        assert word in text, word


def test_it_asks_for_nothing_and_runs_nothing() -> None:
    text = made(rich())
    read = Read(text)
    names = {name for name, _ in read.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "a", "svg", "base", "input"}
    attributes = {key for _, found in read.elements for key in found}
    assert not attributes & {"style", "src", "href", "srcset", "action", "background"}
    assert not [key for key in attributes if key.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    assert "http:" not in text
    assert "https:" not in text


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    text = made(rich())
    [policy] = [a["content"] for n, a in Read(text).elements if a.get("http-equiv") == "Content-Security-Policy"]
    [style] = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e{{7*7}}'\"&"


def test_what_others_wrote_is_text_and_nothing_else() -> None:
    state = rich()
    state["/version"] = {"gitVersion": f"v1.37.2{HOSTILE}"}
    state[f"{OURS}/pods"].append(pod("nodeagent", HOSTILE, "n3", containerStatuses=[
        {"state": {"waiting": {"reason": HOSTILE}}}]))  # fmt: skip
    state[NODES].append(node(HOSTILE))
    state[RECORDS].append({"metadata": {"name": HOSTILE, "namespace": HOSTILE}, "spec": {"workload": HOSTILE}})
    for one in (*state[f"{APPS}/daemonsets"], *state[f"{APPS}/deployments"]):
        one["metadata"]["labels"] |= {"app.kubernetes.io/version": HOSTILE, "helm.sh/chart": HOSTILE}
    for anonymise in (False, True):
        text = made(state, anonymise=anonymise)
        read = Read(text)
        assert "script" not in {name for name, _ in read.elements}
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "{{7*7}}" in text, "it is no template"
    assert "49" not in re.findall(r"v1\.37\.2(.{60})", text)[0]


def strange(value: Any) -> Any:
    """A cluster whose names are words that no sentence of ours holds."""
    text = json.dumps(value)
    for word in ("n1", "n2", "n3", "n4", "shop", "lake"):
        text = text.replace(f'"{word}"', f'"qzv{word}"').replace(f'\\"{word}\\"', f'\\"qzv{word}\\"')
        text = text.replace(f"node-{word}", f"node-qzv{word}")
    for word in ("web", "copy", "canary"):
        text = text.replace(f"/{word}", f"/qzv{word}").replace(f'\\"{word}-1', f'\\"qzv{word}-1')
        text = text.replace(f"-{word}", f"-qzv{word}")
    return json.loads(text.replace("Rollout", "QzvRollout"))


def test_without_names_no_name_is_in_it_and_equal_ones_are_equal() -> None:
    state = strange(rich())
    with_names = made(state)
    for word in ("qzvn1", "qzvshop", "qzvweb", "QzvRollout", "jane"):
        assert word in with_names, f"{word} is there to be replaced"
    text = made(state, anonymise=True)
    assert re.findall("(?i).{20}qzv.{20}", text) == []
    assert "jane" not in text
    rows = re.findall("<tr>(.*?)</tr>", text)
    [of_node] = [row for row in rows if "eth1" in row] or [""]
    assert of_node
    copies = [row for row in rows if "Job/workload-" in row]
    assert len({re.findall(r"Job/workload-\d+", row)[0] for row in copies}) == 1
    assert len(copies) == 3, "two measured pods, and the TrafficFootprint"


def test_rows_beyond_what_a_browser_lays_out_are_left_out_and_counted() -> None:
    state = healthy()
    pods = tuple(PodFootprint(f"u{i}", "s", f"p{i}", "Job/j", TrafficClass.MOUSE, tx=i * M) for i in range(150))
    state[NODES] = [node(f"n{i}", footprint(pods=pods)) for i in range(20)]
    found = facts(state)
    [table] = [one for one in tables(found) if one.title == "Measured pods"]
    assert (len(table.rows), table.total, table.left) == (MOST, 3000, 1000)
    assert f"{MOST} rows; 1000 more are left out." in page(found, diagnose(found))


def test_a_cluster_of_which_nothing_is_known_is_a_report_too() -> None:
    text = made(dict.fromkeys(healthy(), 403))
    read = " ".join(Read(text).text)
    for empty in ("No node could be read.", "No node says anything of a pod.", "There are no TrafficFootprints"):
        assert empty in read
    assert "the right to list nodes is missing" in read


def test_a_healthy_cluster_counts_its_notes_alone() -> None:
    assert re.findall('<ul class="counts">\n(.*?)\n</ul>', made(healthy()), re.DOTALL) == [
        '<li class="note">1 note</li>'
    ]


def test_it_is_written_where_the_flags_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.report.command.look", lambda _settings: facts(rich()))
    given = ["--kubeconfig", str(kubeconfig(tmp_path / "k", 1))]
    file = tmp_path / "r.html"
    assert main(["report", str(file), *given]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {file}, ")
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", "-", "--anonymise", *given]) == 0
    shown = capsys.readouterr().out
    assert "Names are replaced by aliases" in shown
    assert "copy-1" not in shown
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "none" / "r.html"), *given])
    assert ended.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


def test_without_jinja2_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.report.command.find_spec", lambda _name: None)
    with pytest.raises(SystemExit) as ended:
        main(["report", "-", "--kubeconfig", str(kubeconfig(tmp_path / "k", 1))])
    assert ended.value.code == 2
    assert "pip install 'traffic-footprint[plugin,doctor]'" in capsys.readouterr().err


def test_the_pages_files_are_in_the_wheel(tmp_path: Path) -> None:
    """What setuptools would put into a wheel holds the style sheet and the template."""
    script = (
        "import sys; from setuptools import setup; "
        f"sys.argv = ['setup.py', '-q', 'build_py', '--build-lib', {str(tmp_path)!r}]; setup()"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, cwd=CHECKOUT, timeout=120)
    assert {path.name for path in (tmp_path / "plugin" / "report").iterdir()} >= {"page.css", "page.html.j2"}
