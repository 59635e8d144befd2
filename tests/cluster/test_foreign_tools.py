# SPDX-License-Identifier: Apache-2.0
"""The chart without Helm's own installing: rendered, and applied again and again as other people's tools do.

Real Helm renders, real kubectl applies on a real API server with its controllers. Nothing of the
release runs here, so that whatever changes was changed by the applying.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from extender.learning.elector import Elector
from extender.learning.kubernetes_store import KubernetesStore
from footprint.keys import LEARNER_LEASE
from lab import manifests
from lab.lab import Lab, LabConfig
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.workloads import get

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SPACE: Final = "foreign"
RELEASE: Final = "tf"
VALUES: Final = (
    "--set=certificates.mode=existing",
    "--set=certificates.existing.serverSecret=server",
    "--set=certificates.existing.clientSecret=client",
    "--set=routing.namespaceLabel.enabled=true",
    "--set=networkPolicy.enabled=true",
    "--set=commonLabels.team=network",
    "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
)
"""As much as an API server without others' resource definitions takes."""
Object = dict[str, Any]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One node that takes no pods, and nothing of ours."""
    config = LabConfig(nodes=1, agents=False, extender=False, keep_dir=logs_of("test_foreign_tools"))
    for lab in running(config):
        lab.kubectl("delete", "-k", str(manifests.BASE), "--wait", "--timeout=120s")
        lab.kubectl("cordon", "node1")
        lab.kubectl("create", "namespace", SPACE)
        yield lab


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``helm template`` prints, in a file."""
    path = tmp_path_factory.mktemp("foreign") / "all.yaml"
    path.write_text(manifests.render("--no-hooks", *VALUES, release=RELEASE, namespace=SPACE))
    return path


def objects(path: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def generations(lab: Lab, path: Path) -> Mapping[str, Any]:
    """What changes in an object when somebody changes it: its generation; or, where it has none, its version."""
    found = json.loads(lab.kubectl("get", "-f", str(path), "-o", "json"))["items"]
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["metadata"].get("generation")
        or each["metadata"]["resourceVersion"]
        for each in found
    }


def test_a_second_server_side_apply_changes_nothing(lab: Lab, rendered: Path) -> None:
    lab.kubectl("apply", "-f", str(rendered))
    by = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", str(rendered))
    lab.kubectl("apply", *by)
    before = generations(lab, rendered)
    assert len(before) == len(objects(rendered)) > 20
    lab.kubectl("apply", *by)
    assert generations(lab, rendered) == before
    assert lab.kubectl("diff", *by) == ""


def test_a_second_client_side_apply_changes_nothing(lab: Lab, rendered: Path) -> None:
    """kubectl may print "configured" all the same: it sends a PodDisruptionBudget's selector each time, because
    that field is replaced as a whole. What counts is that the server stores nothing new."""
    lab.kubectl("apply", "-f", str(rendered))
    before = generations(lab, rendered)
    assert len(before) == len(objects(rendered)) > 20
    lab.kubectl("apply", "-f", str(rendered))
    assert generations(lab, rendered) == before


def test_pruning_removes_nothing_that_is_rendered_or_made_at_run_time(lab: Lab, rendered: Path) -> None:
    elector = Elector(KubernetesStore(lab.api, namespace=SPACE), candidate=lambda: True, identity="one")
    elector.step()
    lab.kubectl("apply", "-f", str(rendered))
    before = generations(lab, rendered)
    stray = rendered.with_name("stray.yaml")
    metadata = f"{{name: stray, namespace: {SPACE}, labels: {{team: network}}}}"
    stray.write_text(f"kind: ConfigMap\napiVersion: v1\nmetadata: {metadata}\n")
    lab.kubectl("apply", "-f", str(stray))
    kinds = ("core/v1/ConfigMap", "core/v1/Service", "apps/v1/Deployment", "coordination.k8s.io/v1/Lease")
    told = lab.kubectl(
        "apply", "-f", str(rendered), "--prune", "-l", "team=network", *(f"--prune-allowlist={k}" for k in kinds)
    )
    assert [line for line in told.splitlines() if line.endswith(" pruned")] == ["configmap/stray pruned"]
    assert generations(lab, rendered) == before
    assert get(lab, "lease", "-n", SPACE, LEARNER_LEASE)["spec"]["holderIdentity"] == "one"


def test_the_lease_of_the_learner_is_made_at_run_time_without_labels_to_prune_it_by(
    lab: Lab, rendered: Path
) -> None:
    """Argo CD never creates a chart's Lease. The program's carries no label by which a tool would prune."""
    lab.kubectl("apply", "-f", str(rendered))
    assert "Lease" not in {each["kind"] for each in objects(rendered)}
    elector = Elector(KubernetesStore(lab.api, namespace=SPACE), candidate=lambda: True, identity="one")
    elector.step()
    assert (elector.leads(), elector.errors) == (True, 0)
    assert "labels" not in get(lab, "lease", "-n", SPACE, LEARNER_LEASE)["metadata"]
    assert get(lab, "lease", "-n", SPACE, LEARNER_LEASE)["spec"]["holderIdentity"] == "one"


def test_kustomize_takes_the_rendered_file(lab: Lab, rendered: Path) -> None:
    """It refuses a key that is given twice, and so does Flux, which uses it."""
    (rendered.parent / "kustomization.yaml").write_text(f"resources: [{rendered.name}]\n")
    built = lab.kubectl("kustomize", str(rendered.parent))
    assert len([each for each in yaml.safe_load_all(built) if each]) == len(objects(rendered))
