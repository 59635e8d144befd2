# SPDX-License-Identifier: Apache-2.0
"""The built images as they ship, with the manifests' arguments, users, capabilities and mounts, on a real API
server with the real kube-scheduler."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from footprint.keys import POD_CLASS
from lab import programs
from lab.controlplane import commands
from lab.controlplane import readiness as cluster
from lab.controlplane.plane import answers
from lab.errors import LabError
from lab.images import container, images, pods
from lab.images.images import Image
from lab.lab import Lab, LabConfig
from lab.network.addresses import CONTROL_PLANE_V4, OUTSIDE_V4, node_v4
from lab.processes import Process
from lab.traffic import argv
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.workloads import created, eventually, extender_metrics, get, measured, pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]  # the first run builds the images

BUSY, FREE = "node1", "node2"
PATIENCE = 180.0
"""Seconds for what takes ten on a machine that has nothing else to do."""
LOCAL = ("127.0.0.1", commands.API_PORT)
FROM_NODES = (CONTROL_PLANE_V4, commands.API_PORT)


@pytest.fixture(scope="module")
def built() -> dict[str, Image]:
    """Both images; the remedy where they cannot be built."""
    try:
        return {component: images.image(component) for component in ("nodeagent", "extender")}
    except LabError as error:
        pytest.fail(f"the images were not built: {error}", pytrace=False)


@pytest.fixture(scope="module")
def lab(built: dict[str, Image]) -> Iterator[Lab]:
    """Two nodes, and nothing of ours but what the tests start from images."""
    del built  # first the images: a lab that waits for a build only costs
    yield from running(LabConfig(nodes=2, agents=False, extender=False, keep_dir=logs_of("test_images")))


def account(lab: Lab, name: str, place: Path, node: str | None = None) -> Path:
    """The files a kubelet would mount for service account ``name``."""
    folder = place / f"{name}-{node}"
    folder.mkdir()
    bound = cluster.reference(lab.api, "Node", f"/api/v1/nodes/{node}") if node else None
    authority = lab.api.configuration.ssl_ca_cert
    (folder / "token").write_text(cluster.token(lab.api, programs.NAMESPACE, name, bound))
    (folder / "ca.crt").write_bytes(Path(authority).read_bytes())
    (folder / "namespace").write_text(programs.NAMESPACE)
    return folder


@pytest.fixture(scope="module")
def agents(lab: Lab, built: dict[str, Image], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Process]:
    """An agent on each node, as the DaemonSet starts it; the links' capacity is what an operator would set."""
    place, image, manifest = tmp_path_factory.mktemp("agents"), built["nodeagent"], pods.workload("nodeagent")
    started = {}
    for index, node in enumerate(lab.node_names, start=1):
        scratch = place / node
        scratch.mkdir()
        command = pods.as_shipped(
            image.rootfs, image.config, manifest, folders={"tmp": scratch, "programs": scratch}, api=FROM_NODES,
            account=account(lab, programs.AGENT_ACCOUNT, place, node),
            fields={"spec.nodeName": node, "status.hostIP": node_v4(index)},
            arguments=lambda given: [*given, "--link-capacity=200M"],
        )  # fmt: skip
        started[node] = lab.spawn_in(node, command, name=f"nodeagent-{node}")
    return started


@pytest.fixture(scope="module")
def extender(lab: Lab, built: dict[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Process:
    """The extender as the Deployment starts it, but over plain HTTP; kube-scheduler asks it. Both wait longer for
    a response than they ship with, since this machine's speed is not under test."""
    place, image = tmp_path_factory.mktemp("extender"), built["extender"]
    manifest = pods.workload("extender")
    command = pods.as_shipped(
        image.rootfs, image.config, manifest, folders={"tls": place}, api=LOCAL,
        account=account(lab, programs.EXTENDER_ACCOUNT, place),
        arguments=lambda given: [*pods.without(given, "--tls-", "--client-ca", "--deadline"), "--deadline=10"],
    )  # fmt: skip
    process = lab.spawn_in("cp", command, name="extender")
    process.wait_ready(answers(f"{programs.EXTENDER_URL}/readyz", None), PATIENCE)
    lab.stop_scheduler()
    lab.start_scheduler(extender=True, changes={"httpTimeout": "30s"})
    return process


def status(process: Process) -> dict[str, str]:
    """The kernel's view of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def is_python(process: Process) -> bool:
    """Whether the container is set up and its program begun."""
    return Path(f"/proc/{process.pid}/exe").readlink().name.startswith("python")


def node_of(lab: Lab, name: str) -> str | None:
    """Where the pod was bound; None: nowhere yet."""
    spec: dict[str, str] = get(lab, "pod", name)["spec"]
    return spec.get("nodeName")


def mounts(process: Process) -> dict[str, str]:
    """Mount point → options, as the process sees them."""
    lines = Path(f"/proc/{process.pid}/mounts").read_text().splitlines()
    return {fields[1]: fields[3] for fields in (line.split() for line in lines)}


def test_the_extenders_image_serves_as_a_user_without_any_power_on_a_read_only_file_system(
    extender: Process,
) -> None:
    seen = status(extender)
    assert seen["Uid"].split() == seen["Gid"].split() == ["65532"] * 4
    assert seen["NoNewPrivs"] == "1"
    assert {int(seen[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert mounts(extender)["/"].split(",")[0] == "ro"


def test_the_agents_image_runs_with_the_daemonsets_capabilities_alone(
    agents: dict[str, Process], lab: Lab
) -> None:
    known = {"net_admin": 12, "sys_admin": 21, "perfmon": 38, "bpf": 39}
    allowed = sum(1 << known[name] for name in pods.capabilities(pods.workload("nodeagent")))
    for node, process in agents.items():
        eventually(f"the agent of {node} runs", partial(is_python, process), PATIENCE)
        seen = status(process)
        assert int(seen["CapEff"], 16) == int(seen["CapBnd"], 16) == allowed
        assert mounts(process)["/"].split(",")[0] == "ro"
    assert lab.ended() == []


def test_a_mouse_is_placed_by_images_alone(lab: Lab, agents: dict[str, Process], extender: Process) -> None:
    lab.spawn_in("outside", argv("sink"), name="sink")
    elephant = pod("elephant", argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "150M"), node=BUSY)
    with created(lab, elephant):
        eventually("the elephant is published", lambda: (p := measured(lab, BUSY, "elephant")) and p.el, PATIENCE)
        known = 'traffic_footprint_extender_nodes{state="known"}'
        eventually("the extender knows both nodes", lambda: extender_metrics().get(known) == len(agents), PATIENCE)
        mice = [pod(f"mouse-{n}", ["sleep", "600"], annotations={POD_CLASS: "mouse"}) for n in range(4)]
        with created(lab, *mice) as names:
            for name in names:
                assert eventually(f"{name} is bound", partial(node_of, lab, name), PATIENCE) == FREE
    answered = extender_metrics()['traffic_footprint_extender_requests_total{result="ok",verb="filter"}']
    assert answered >= len(mice)
    assert extender.running


def test_a_container_leaves_no_mount_and_no_file_behind(built: dict[str, Image]) -> None:
    image = built["extender"]
    before = mounted(), sorted(path.name for path in image.rootfs.iterdir())
    command = container.command(
        # /var/run is a link to /run: the image's, not this machine's.
        image.rootfs, image.config, entrypoint=["sh", "-c", "! echo x >/tmp/x && cat /var/run/images-test/file"],
        binds=[container.Bind(Path("/etc/debian_version"), "/var/run/images-test/file")],
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == Path("/etc/debian_version").read_text()
    assert "Read-only file system" in done.stderr
    assert not Path("/run/images-test").exists()
    assert (mounted(), sorted(path.name for path in image.rootfs.iterdir())) == before


def test_both_end_in_order_when_they_are_told_to(lab: Lab, agents: dict[str, Process], extender: Process) -> None:
    for process in (*agents.values(), extender):
        process.send(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    for log in ("extender", *(f"nodeagent-{node}" for node in lab.node_names)):
        text = lab.logs(log).read_text()
        assert text
        assert "Traceback" not in text


def mounted() -> list[str]:
    """What this machine has mounted that a container may have brought."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if "overlay" in line or " /mnt" in line or "images-test" in line]
