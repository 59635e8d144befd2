# SPDX-License-Identifier: Apache-2.0
"""Files that are made from others are up to date, and their making can fail."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from lab import manifests
from lab.errors import LabError
from lab.manifests import readme, without_helm

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm


def test_chart_and_manifests_are_made_from_what_they_say() -> None:
    assert manifests.stale() == [], "run `python -m lab.manifests`"


def test_the_kustomize_network_policy_covers_the_extender_of_the_kustomize_overlays() -> None:
    folder = manifests.CHECKOUT / "manifests" / "components"
    policy = yaml.safe_load((folder / "networkpolicy" / "networkpolicy.yaml").read_text())["spec"]

    def labels(part: str) -> dict[str, str]:
        objects = yaml.safe_load_all((folder / part / f"{part}.yaml").read_text())
        [found] = [o["spec"]["template"]["metadata"]["labels"] for o in objects if o["kind"] == "Deployment"]
        return dict(found)

    assert policy["podSelector"]["matchLabels"].items() <= labels("extender").items()
    [peer] = policy["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"].items() <= labels("scheduler").items()
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["https", "metrics"]


def test_the_commands_for_kustomize_name_the_images_that_the_overlay_has() -> None:
    """`kustomize edit set image` accepts a name that occurs nowhere, and changes nothing."""
    text = (manifests.CHECKOUT / "docs" / "how-to" / "install-with-kustomize.md").read_text()
    block = text[text.index("kustomize edit set image") : text.index("kubectl apply -k .")]
    named = set(re.findall(r"(\S+?)(?:=REGISTRY/\1)?:(?:0\.1\.0|vCLUSTER)", block))
    folder = manifests.CHECKOUT / "manifests" / "components"
    used = {
        match
        for part in ("nodeagent", "extender", "scheduler")
        for match in re.findall(r"image: (\S+):", (folder / part / f"{part}.yaml").read_text())
    }
    assert named == used


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The chart, to be changed."""
    return Path(shutil.copytree(manifests.CHART, tmp_path / "traffic-footprint"))


def test_the_readme_has_every_value_with_its_default_and_its_comment(copied: Path) -> None:
    text = readme(copied)
    assert '| nodeagent.settings.mouseBytes | string | `"128Ki"` | A flow that ends below this' in text
    assert "| nodeagent.resources | object | `{" in text


def test_a_changed_comment_or_default_changes_the_readme(copied: Path) -> None:
    values = copied / "values.yaml"
    values.write_text(values.read_text().replace("mouseBytes: 128Ki", "mouseBytes: 77Ki"))
    assert '`"77Ki"`' in readme(copied)


def test_a_value_without_a_comment_is_an_error_that_names_it(copied: Path) -> None:
    values = copied / "values.yaml"
    values.write_text(values.read_text() + "\nodd:\n  one: 1\n")
    with pytest.raises(LabError, match=r"odd\.one"):
        readme(copied)


def test_what_only_helm_needs_is_left_out() -> None:
    document = (
        "metadata:\n  labels:\n    helm.sh/chart: x\n    app.kubernetes.io/managed-by: Helm\n    kept: a\n"
        "  annotations:\n    helm.sh/hook: post-delete\n    helm.sh/hook-weight: \"0\"\nspec: {}\n"
    )  # fmt: skip
    assert without_helm(document) == "metadata:\n  labels:\n    kept: a\nspec: {}\n"
