# SPDX-License-Identifier: Apache-2.0
"""The plugin's lists of a real API server: golden tables, JSON, selectors, watching, stating, forgetting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from extender.model.trafficfootprint import API_VERSION, PLURAL
from extender.model.trafficfootprint_name import object_name
from footprint.cluster import paths
from footprint.cluster.client import MERGE_PATCH, ApiError, request
from footprint.codec import decode, encode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import LinkRates, NodeFootprint
from lab import programs
from lab.lab import Lab, LabConfig
from lab.terminal import terminal
from plugin.output.jsonpath import compiled
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.plugin import SHOP, cells, golden, learned, plugin, refused
from tests.cluster.support.workloads import eventually, get

pytestmark = pytest.mark.cluster

TF = "trafficfootprint.traffic-footprint.io"
BULK, WEB, DB = map(object_name, ("Job/bulk", "Deployment/web", "StatefulSet/db"))
NODES = [
    "NODE | ELEPHANTS | OF LINK | PODS | SOURCE | HEALTH | LEASE",
    "golden-a | 80 % | 200 Mbit/s stated | 1 elephant, 1 mouse | ebpf-fentry | ok | AGO",
    "golden-b | 0 % | 200 Mbit/s estimated 91% | 1 mouse | ebpf-cgroup | flows-evicted | AGO, stale",
    "└ eth0 | 0 % | 200 Mbit/s stated",
    "└ eth1 | ? | capacity unknown",
    "node1 | - | - | - | - | no footprint yet: is the node agent running there? | none",
]
PODS = [
    "POD | NODE | CLASS | TX | RX | ELEPHANTS | FLOWS/S | WORKLOAD | SEEN",
    "bulk-0 | golden-a | elephant | 160 Mbit/s | 1 Mbit/s | 2 | 0.5 | Job/bulk | AGO",
    "web-0 | golden-a | mouse | 2 Mbit/s | 3 Mbit/s | 0 | 12 | Deployment/web | AGO",
]
WORKLOADS = [
    "WORKLOAD | CLASS | FROM | TX | RX | MICE/S | CONFIDENCE | SAMPLES | SINCE | LAST SEEN",
    "Deployment/web | mouse | learned | 0 bit/s | 0 bit/s | 9 | 94 % | 50 | AGO | AGO",
    "Job/bulk | elephant | learned | 150 Mbit/s | 2 Mbit/s | 0 | 77 % | 10 | AGO | AGO",
    "StatefulSet/db | mixed | learned | 20 Mbit/s | 0 bit/s | 1 | 50 % | 3 | AGO | AGO",
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One node, no programs of ours, and the golden objects."""
    for one in running(LabConfig(nodes=1, agents=False, extender=False, keep_dir=logs_of("test_plugin_lists"))):
        golden(one)
        yield one


@pytest.fixture(autouse=True)
def kubeconfig(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The lab's cluster, and ``shop`` as the context's namespace."""
    context = {"name": "shop", "context": {"cluster": "lab", "user": "lab", "namespace": SHOP}}
    (tmp_path / "context").write_text(json.dumps({"contexts": [context], "current-context": "shop"}))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'context'}:{lab.kubeconfig}")


def listed(*arguments: str) -> list[str]:
    return cells(plugin(*arguments).stdout)


def shape(value: Any) -> Any:
    """What kinds of values stand where."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) else type(value).__name__


RATES = {"tx": "number", "rx": "number"}
LINK = {
    "name": "str", "capacity": RATES, "capacityFrom": "str", "capacityConfidence": "number", "used": RATES,
    "elephants": RATES, "full": [],
}  # fmt: skip
NODE_SHAPE = {
    "apiVersion": "str", "kind": "str", "metadata": {"name": "str"},
    "heartbeat": {"freshness": "str", "renewed": "str", "ageSeconds": "number"},
    "elephantShare": "number", "link": LINK, "uplinks": [], "classes": {"elephant": "number", "mouse": "number"},
    "podsLeftOut": "number", "elephantFlows": "number", "newFlowsPerSecond": "number", "host": RATES,
    "unattributed": RATES, "insideNode": "number", "source": "str", "datapath": "str", "coverage": "number",
    "losses": [],
}  # fmt: skip
POD_SHAPE = {
    "apiVersion": "str", "kind": "str", "metadata": {"name": "str", "namespace": "str", "uid": "str"},
    "node": "str", "workload": "str", "class": "str", "tx": "number", "rx": "number", "elephants": RATES,
    "elephantFlows": "number", "newFlowsPerSecond": "number", "miceShare": "number", "freshness": "str",
    "ageSeconds": "number", "source": "str", "datapath": "str", "coverage": "number", "losses": [],
}  # fmt: skip
LEARNED_RATES = {"typical": "number", "peak": "number"}
WORKLOAD_SHAPE = {
    "apiVersion": "str", "kind": "str", "metadata": {"name": "str", "namespace": "str", "uid": "str"},
    "workload": "str", "class": "str", "from": "str", "stated": "NoneType",
    "learned": {
        "class": "str", "tx": LEARNED_RATES, "rx": LEARNED_RATES,
        "mice": {"weight": "number", "flowsPerSecond": "number"}, "samples": "number", "confidence": "number",
        "lastSeen": "str",
    },
    "since": "str", "problems": [],
}  # fmt: skip


def test_nodes_are_a_table_as_kubectl_prints_one() -> None:
    assert listed("nodes") == NODES
    assert listed("nodes", "--no-headers") == NODES[1:]


def test_wide_nodes_say_coverage_datapath_flows_and_losses() -> None:
    head, busy, lossy, *_ = listed("nodes", "-o", "wide")
    assert head == f"{NODES[0]} | COVERAGE | DATAPATH | FLOWS | LOSSES"
    assert busy == f"{NODES[1]} | 85 % | conntrack | 2 elephant, 12.5 new/s | none"
    assert lossy == f"{NODES[2]} | 50 % | sockets | 0 elephant, 3 new/s | flows-evicted"


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["-l", "zone=east"], ["golden-a"]), (["-l", "zone in (east,west)"], ["golden-a", "golden-b"]),
        (["--field-selector", "metadata.name=golden-b"], ["golden-b"]),
        (["golden-b", "node1"], ["golden-b", "node1"]),
        (["--sort-by", "pods"], ["golden-a", "golden-b", "node1"]),
        (["--sort-by", ".link.used.tx"], ["golden-b", "golden-a", "node1"]),
        (["--sort-by", "lease", "-l", "zone"], ["golden-b", "golden-a"]),
    ],
    ids=str,
)  # fmt: skip
def test_nodes_are_selected_and_sorted(flags: list[str], names: list[str]) -> None:
    assert plugin("nodes", "-o", "name", *flags).stdout.split() == [f"node/{name}" for name in names]


def test_pods_are_those_of_the_contexts_namespace() -> None:
    assert listed("pods") == PODS
    everywhere = listed("pods", "-A")
    assert everywhere[0] == f"NAMESPACE | {PODS[0]}"
    assert [line.split(" | ")[:2] for line in everywhere[1:]] == [
        ["shop", "bulk-0"], ["shop", "web-0"], ["default", "web-1"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["-l", "app=web"], ["web-0"]), (["-l", "app!=web"], ["bulk-0"]), (["--class", "elephant"], ["bulk-0"]),
        (["--field-selector", "metadata.name=bulk-0"], ["bulk-0"]), (["-n", "default"], ["web-1"]),
        (["-A", "--node", "golden-b"], ["web-1"]), (["--workload", "Job/bulk"], ["bulk-0"]),
        (["web-0"], ["web-0"]),
        (["-A", "--sort-by", "flows-per-s"], ["web-0", "web-1", "bulk-0"]),
        (["-A", "--sort-by", "{.metadata.namespace}"], ["web-1", "bulk-0", "web-0"]),
    ],
    ids=str,
)  # fmt: skip
def test_pods_are_selected_and_sorted(flags: list[str], names: list[str]) -> None:
    assert plugin("pods", "-o", "name", *flags).stdout.split() == [f"pod/{name}" for name in names]


def test_workloads_say_what_is_known_and_how_sure() -> None:
    assert listed("workloads") == WORKLOADS
    assert plugin("workloads", "-o", "name", "--sort-by", "tx").stdout.split() == [
        f"{TF}/{name}" for name in (BULK, DB, WEB)
    ]
    assert listed("workloads", "Job/bulk", "--no-headers") == listed("workloads", BULK, "--no-headers")


def test_json_has_a_shape_that_scripts_can_rely_on() -> None:
    for command, kind, expected in (
        (["nodes", "golden-a"], "NodeTraffic", NODE_SHAPE), (["pods", "bulk-0"], "PodTraffic", POD_SHAPE),
        (["workloads", "Job/bulk"], "WorkloadTraffic", WORKLOAD_SHAPE),
    ):  # fmt: skip
        alone = json.loads(plugin(*command, "-o", "json").stdout)
        assert (shape(alone), alone["kind"]) == (expected, kind)
        assert alone["apiVersion"] == "plugin.traffic-footprint.io/v1"
        many = json.loads(plugin(command[0], "-o", "json").stdout)
        assert many["kind"] == f"{kind}List"
        assert alone["metadata"] in [item["metadata"] for item in many["items"]]


@pytest.mark.parametrize(
    "template",
    [
        "{.items[*].metadata.name}", '{range .items[*]}{.metadata.name}{"\\t"}{.metadata.labels.zone}{"\\n"}{end}',
        "{.items[0].metadata.name} and {.items[-1:].metadata.name}", "{.kind}", "no braces",
        "{.items[0:2].metadata.name}",
        '{.items[?(@.metadata.name=="golden-b")].metadata.labels.zone}', "{.nothing.there}", "{..zone}",
        r"{.items[*].metadata.labels.kubernetes\.io/hostname}", "{.items[*]['metadata.name','kind']}",
        "{.items[?(@.metadata.labels.zone)].metadata.name}", "{$.items[0].kind}", "{@.kind}", '{"a"}{\'b\'} c',
        "{.items[0,1].metadata.name}", r"{.items[*].metadata.labels['kubernetes\.io/hostname']}",
        "{.items[*]['metadata']['name']}", "{.items[?(@.metadata.name>'golden-a')].metadata.name}",
        '{range .items[?(@.metadata.labels.zone!="east")]}[{.metadata.name}]{end}',
    ],
)  # fmt: skip
def test_templates_mean_what_they_mean_to_kubectl(lab: Lab, template: str) -> None:
    argv = ["get", "nodes", "--sort-by", ".metadata.name", "-o"]
    whole = json.loads(lab.kubectl(*argv, "json"))
    assert compiled(template).of(whole) == lab.kubectl(*argv, f"jsonpath={template}")


def test_a_template_makes_what_is_printed() -> None:
    template = '{range .items[*]}{.metadata.name}={.class}{"\\n"}{end}'
    assert plugin("pods", "-o", f"jsonpath={template}").stdout == "bulk-0=elephant\nweb-0=mouse\n"
    assert "class: elephant" in plugin("pods", "bulk-0", "-o", "yaml").stdout


def test_nothing_found_says_where_it_looked() -> None:
    empty = plugin("pods", "-n", "kube-public")
    assert (empty.stdout, empty.stderr.count("\n")) == ("", 1)
    assert empty.stderr == "no measured pods in namespace kube-public; -A shows every namespace's\n"
    for command in ("pods", "workloads"):
        assert "there is no namespace 'nowhere'" in refused(command, "-n", "nowhere")
    assert 'nodes "nothing" not found' in refused("nodes", "nothing")
    assert "no node agent measured a pod 'nothing' in shop" in refused("pods", "nothing")
    assert "did you mean Deployment/web?" in refused("workloads", "Deployment/wep")


@contextmanager
def watching(*arguments: str) -> Iterator[Callable[[], str]]:
    """The next line of ``--watch``, until Ctrl-C ends it."""
    argv = ["env", "--default-signal", programs.console_script("kubectl-footprint"), *arguments, "--watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        stdout = process.stdout
        assert stdout is not None
        try:
            yield lambda: cells(stdout.readline())[0]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 128 + signal.SIGINT


def publish(lab: Lab, node: str, text: str | None) -> None:
    """``text`` as the node's footprint; None removes it."""
    body: dict[str, Any] = {"metadata": {"annotations": {NODE_FOOTPRINT: text}}}
    request(lab.api, "PATCH", paths.node(node), body=body, content_type=MERGE_PATCH)


def test_a_watch_of_nodes_prints_what_changes(lab: Lab) -> None:
    with watching("nodes", "node1") as line:
        assert [line(), line()] == [NODES[0], NODES[-1]]
        try:
            publish(lab, "node1", encode(NodeFootprint(src="ctnetlink", cap=LinkRates(1e9, 1e9))).text)
            assert line() == "node1 | 0 % | 1 Gbit/s | none | ctnetlink | ok | none"
        finally:
            publish(lab, "node1", None)


def test_a_watch_of_pods_prints_what_changes(lab: Lab) -> None:
    """Its neighbour too: how much of their node's traffic is known (coverage) is part of both."""
    text = get(lab, "node", "golden-a")["metadata"]["annotations"][NODE_FOOTPRINT]
    before = decode(text)
    moved = tuple(replace(one, tx=4e6) if one.name == "web-0" else one for one in before.pods)
    with watching("pods") as line:
        assert [line() for _ in PODS] == PODS
        try:
            publish(lab, "golden-a", encode(replace(before, pods=moved)).text)
            assert [line(), line()] == [PODS[1], PODS[2].replace("2 Mbit/s", "4 Mbit/s")]
        finally:
            publish(lab, "golden-a", text)


def test_a_watch_of_workloads_prints_what_was_learned_since(lab: Lab) -> None:
    path = f"{paths.custom(API_VERSION, PLURAL, SHOP)}/{DB}/status"

    def samples(count: int) -> None:
        request(lab.api, "PATCH", path, body={"status": {"samples": count}}, content_type=MERGE_PATCH)

    with watching("workloads", "StatefulSet/db") as line:
        assert [line(), line()] == [WORKLOADS[0], WORKLOADS[-1]]
        try:
            samples(4)
            assert line() == WORKLOADS[-1].replace("50 % | 3 |", "57 % | 4 |")
        finally:
            samples(3)


def spec(lab: Lab, name: str) -> Any:
    found = [one for one in get(lab, "tf", "-n", SHOP)["items"] if one["metadata"]["name"] == name]
    return found[0]["spec"] if found else None


def test_a_statement_is_written_only_when_it_is_meant(lab: Lab) -> None:
    state = ("workloads", "state", "Deployment/web", "--class", "elephant", "--bandwidth", "400M")
    for dry, told in (("client", "(dry run)"), ("server", "(server dry run)")):
        assert plugin(*state, f"--dry-run={dry}").stdout == f"{TF}/{WEB} stated {told}\n"
        assert spec(lab, WEB) == {"workload": "Deployment/web"}
    assert plugin(*state).stdout == f"{TF}/{WEB} stated\n"
    assert spec(lab, WEB) == {"workload": "Deployment/web", "class": "elephant", "expectedBandwidth": "400M"}
    [line] = listed("workloads", "Deployment/web", "--no-headers")
    assert line.startswith("Deployment/web | elephant (learned mouse) | both | ")
    assert plugin(*state).stdout == f"{TF}/{WEB} unchanged\n"
    back = ("workloads", "state", WEB, "--class", "none", "--bandwidth", "none")
    assert json.loads(plugin(*back, "-o", "json").stdout)["spec"] == {"workload": "Deployment/web"}
    assert listed("workloads") == WORKLOADS


def test_a_workload_that_was_never_measured_can_be_stated_and_forgotten(lab: Lab) -> None:
    name = object_name("CronJob/backup")
    state = ("workloads", "state", "CronJob/backup", "--class=elephant", "--placement=strict")
    for dry in ("client", "server"):
        assert "created" in plugin(*state, f"--dry-run={dry}").stdout
        assert spec(lab, name) is None
    assert plugin(*state).stdout == f"{TF}/{name} created\n"
    assert spec(lab, name) == {"workload": "CronJob/backup", "class": "elephant", "placement": "strict"}
    assert "add --with-stated" in refused("workloads", "forget", "CronJob/backup")
    forget = ("workloads", "forget", "CronJob/backup", "--with-stated")
    for dry, told in (("client", "(dry run)"), ("server", "(server dry run)")):
        assert plugin(*forget, f"--dry-run={dry}").stdout == f'{TF} "{name}" deleted {told}\n'
        assert spec(lab, name) is not None
    assert plugin(*forget).stdout == f'{TF} "{name}" deleted\n'
    assert spec(lab, name) is None


def test_what_the_schema_refuses_is_one_line() -> None:
    assert "write bit/s with a suffix" in refused("workloads", "state", "Deployment/web", "--bandwidth", "much")
    # The plugin takes a blank that the schema does not.
    told = refused("workloads", "state", "Deployment/web", "--bandwidth", "400 Mbit/s")
    assert "spec.expectedBandwidth" in told
    assert "there is no namespace 'nowhere'" in refused(
        "workloads", "state", "A/b", "--class=mouse", "-n", "nowhere"
    )


def test_kubectl_completes_the_plugins_words(lab: Lab) -> None:
    folder = Path(programs.console_script("kubectl-footprint")).parent

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            [lab.kubectl_path, "__complete", "footprint", *words], capture_output=True, text=True, check=True,
            timeout=120, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        )  # fmt: skip
        *lines, directive = done.stdout.splitlines()
        assert directive in (":4", ":36"), done.stdout
        return [line.partition("\t")[0] for line in lines]

    assert {"nodes", "pods", "workloads", "explain", "shadow"} <= set(completed(""))
    assert completed("nodes", "gold") == ["golden-a", "golden-b"]
    assert completed("nodes", "golden-a", "gold") == ["golden-b"]
    assert completed("pods", "") == ["bulk-0", "web-0"]
    assert completed("pods", "-n", "default", "") == []
    assert completed("pods", "-A", "--node", "golden-b", "w") == ["web-0"], "names are the API server's"
    assert completed("pods", "--class", "e") == ["elephant"]
    assert completed("workloads", "f") == ["forget"]
    assert completed("workloads", "state", "") == ["Deployment/web", "Job/bulk", "StatefulSet/db"]
    assert completed("pods", "--namespace=kube-s") == ["--namespace=kube-system"]
    assert completed("nodes", "--context", "") == ["shop", "lab"]
    assert completed("nodes", "--user", "nobody", "gold") == [], "a failure is silence"


SHELLS: Final = {
    "bash": (
        ".bashrc", ["bash", "-i"],
        "PS1='ready> '\n. /usr/share/bash-completion/bash_completion\n. <(kubectl completion bash)\n",
    ),
    "zsh": (
        ".zshrc", ["zsh", "-i"],
        "PS1='ready> '\nautoload -Uz compinit\ncompinit -u -d ~/dump\n. <(kubectl completion zsh)\n",
    ),
    "fish": (
        ".config/fish/config.fish", ["fish", "-i"],
        "function fish_prompt; echo 'ready> '; end\nkubectl completion fish | source\n",
    ),
}  # fmt: skip
"""Each with its file of commands, as kubectl's documentation has them."""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tab_key_finds_nodes_and_pods_in_every_shell(lab: Lab, shell: str, tmp_path: Path) -> None:
    """A person's shell on a real terminal, and kubectl's own completion in it."""
    name, argv, commands = SHELLS[shell]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").symlink_to(lab.kubectl_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(commands)
    ours = Path(programs.console_script("kubectl-footprint")).parent
    environment = {
        "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "KUBECONFIG": os.environ["KUBECONFIG"], "PATH": f"{tmp_path / 'bin'}:{ours}:/usr/bin:/bin",
    }  # fmt: skip
    with terminal(argv, environment) as shown:
        shown.until("ready>")
        shown.type("kubectl footprint pods bul", "Tab")
        shown.until("footprint pods bulk-0")
        shown.type("", "C-c")
        shown.until(r"bulk-0[^\n]*\n+ready>\s*$")
        # Where there are several, bash and zsh complete what these share first, and list them when asked again.
        # One Tab too many would choose one in zsh and fish.
        shown.type("kubectl footprint nodes gol", *["Tab"] * {"bash": 3, "zsh": 2, "fish": 1}[shell])
        shown.until(r"golden-a\s[\s\S]*golden-b|golden-b[\s\S]*golden-a\s")


def test_without_the_definition_the_remedy_is_named(lab: Lab) -> None:
    definition = lab.kubectl("get", "crd", f"{PLURAL}.{API_VERSION.partition('/')[0]}", "-o", "json")
    name = f"crd/{json.loads(definition)['metadata']['name']}"
    lab.kubectl("delete", name)
    try:
        told = eventually("the definition is gone", lambda: _refusal("workloads", "-A"))
        assert "the CRD is not installed; apply manifests/base/crd.yaml" in told
    finally:
        kept = {key: value for key, value in json.loads(definition).items() if key != "status"}
        kept["metadata"] = {"name": kept["metadata"]["name"]}
        lab.kubectl("create", "-f", "-", input=json.dumps(kept))
        lab.kubectl("wait", "--for=condition=Established", name, "--timeout=60s")
        eventually("objects can be made again", lambda: _served(lab))
        learned(lab)


def _refusal(*arguments: str) -> str:
    done = plugin(*arguments, check=False)
    return done.stderr if done.returncode == 2 and "CRD" in done.stderr else ""


def _served(lab: Lab) -> bool:
    try:
        request(lab.api, "GET", paths.custom(API_VERSION, PLURAL))
    except ApiError:
        return False
    return True
