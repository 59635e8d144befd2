# SPDX-License-Identifier: Apache-2.0
"""Do the parts fit together: agents, extender, chart, kube-scheduler, API server, and this plugin?

Enters: workloads of the release, kube-schedulers' pods and the API server's version. Leaves: findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from footprint.codec import DecodeReason
from plugin.doctor.checks.measuring import unreadable
from plugin.doctor.facts import COMPONENT, EXTENDER, NODEAGENT, SCHEDULER, Facts, Missing, items, of_component
from plugin.doctor.finding import Finding, Severity, about, of
from plugin.doctor.names import Kind, namespace
from plugin.doctor.objects import at, containers, image_version, label, named, text
from plugin.doctor.remedies import upgrade
from plugin.doctor.samples import samples

TOPIC: Final = "versions"
VERSION: Final = "app.kubernetes.io/version"
CHART: Final = "helm.sh/chart"
BUILD_INFO: Final = "traffic_footprint_extender_build_info"
LEAST: Final = (1, 30)
"""Kubernetes from which on the chart's policies hold: it serves them, and its tokens name their node."""
_NUMBER: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})")


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on versions."""
    yield from _parts(facts)
    yield from _mixed(facts)
    yield from _plugin(facts)
    yield from _kubernetes(facts)
    newer = unreadable(facts).get(DecodeReason.VERSION, {})
    if newer:
        yield Finding(
            "footprint-version", TOPIC, Severity.WARNING,
            f"{of(len(newer), 'node')}: footprints of a version that this plugin cannot read.",
            "An extender of this version cannot read it either: these nodes are unknown to it.",
            (upgrade(facts), "pip install --upgrade traffic-footprint    # the plugin"),
            **about(Kind.NODE, newer),
        )  # fmt: skip


def stated(facts: Facts) -> dict[str, str]:
    """The version of each part, as its object's label says."""
    found = {}
    for component, listing in ((NODEAGENT, facts.daemonsets), (EXTENDER, facts.deployments)):
        for one in of_component(listing, component):
            if version := label(one, VERSION):
                found[component] = version
    return found


def running(facts: Facts) -> dict[str, str]:
    """The version of each replica of the extender, by its own word: an image may be another than its tag says."""
    found: dict[str, str] = {}
    if find_spec("prometheus_client") is None:
        return found
    for name, page in facts.metrics.items():
        read = None if isinstance(page, Missing) else samples(page.text)
        for labels, _ in read.of(BUILD_INFO) if read else ():
            found[name] = labels.get("version", "")[:40]
    return found


def _parts(facts: Facts) -> Iterator[Finding]:
    versions = stated(facts)
    yield from _replicas(facts)
    charts = {chart for one in (*items(facts.daemonsets), *items(facts.deployments))
              if label(one, COMPONENT) and (chart := label(one, CHART))}  # fmt: skip
    if len(set(versions.values())) > 1 or len(charts) > 1:
        parts = ", ".join([*(f"{part} {version}" for part, version in sorted(versions.items())), *sorted(charts)])
        yield Finding(
            "versions-differ", TOPIC, Severity.WARNING,
            f"The parts of the release are not of one version: {parts}.",
            "Agents and extender share the annotation's form. Tests only run equal versions together.",
            (upgrade(facts),),
        )  # fmt: skip


def _replicas(facts: Facts) -> Iterator[Finding]:
    """Replicas that are not what their image's tag says. A tag that is no version says nothing."""
    tags = {
        tag.removeprefix("v")
        for one in of_component(facts.deployments, EXTENDER)
        for container in containers(at(one, "spec", "template", "spec"))
        if numbers(tag := image_version(text(container, "image")))
    }
    others = {
        name: version for name, version in running(facts).items()
        if tags and not any(tag.startswith(version) for tag in tags)
    }  # fmt: skip
    if others:
        spelled = ", ".join(sorted(set(others.values())))
        yield Finding(
            "extender-of-another-version", TOPIC, Severity.WARNING,
            f"{of(len(others), 'replica')} of the extender {'runs' if len(others) == 1 else 'run'} version "
            f"{spelled}, and the image's tag is {', '.join(sorted(tags))}.",
            "The image is not what its tag says, or a rollout stands still.",
            (
                f"kubectl -n {namespace(facts.release)} rollout status deployment "
                "-l app.kubernetes.io/component=extender",
            ),
            **about(Kind.OBJECT, others),
        )  # fmt: skip


def _mixed(facts: Facts) -> Iterator[Finding]:
    """Pods of one component with several images."""
    for component in (NODEAGENT, EXTENDER, SCHEDULER):
        images = {text(c, "image") for p in of_component(facts.pods, component)
                  if not at(p, "metadata", "deletionTimestamp") for c in containers(at(p, "spec"))}  # fmt: skip
        if len(images) > 1:
            kind = "daemonset" if component == NODEAGENT else "deployment"
            yield Finding(
                "images-differ", TOPIC, Severity.NOTE,
                f"Pods of the {component} run {len(images)} different images.",
                "A rollout is under way, or stands still.",
                (
                    f"kubectl -n {namespace(facts.release)} rollout status {kind} "
                    f"-l app.kubernetes.io/component={component}",
                ),
                **about(Kind.IMAGE, images),
            )  # fmt: skip


def _plugin(facts: Facts) -> Iterator[Finding]:
    release = set(stated(facts).values())
    if len(release) == 1 and facts.plugin_version and release != {facts.plugin_version}:
        yield Finding(
            "plugin-version", TOPIC, Severity.NOTE,
            f"This plugin is {facts.plugin_version}, the release is {release.pop()}.",
            "`kubectl footprint explain` computes by its own version's rules, which may not be the extender's.",
            ("pip install --upgrade traffic-footprint    # or the release's version",),
        )  # fmt: skip


def numbers(version: str) -> tuple[int, int] | None:
    """Major and minor."""
    found = _NUMBER.match(version)
    return (int(found[1]), int(found[2])) if found else None


def schedulers(facts: Facts) -> dict[str, str]:
    """kube-schedulers by the name of their pod or Deployment, and the version that their image names."""
    found: dict[str, str] = {}
    for one in (*of_component(facts.pods, SCHEDULER), *items(facts.control_plane)):
        for container in containers(at(one, "spec")):
            if version := image_version(text(container, "image")):
                found[named(one)] = version
    return found


def _kubernetes(facts: Facts) -> Iterator[Finding]:
    if not isinstance(facts.server_version, str) or (server := numbers(facts.server_version)) is None:
        return
    if server < LEAST:
        yield Finding(
            "kubernetes-too-old", TOPIC, Severity.WARNING,
            f"The API server is {facts.server_version}; the chart's admission policies need 1.30.",
            "RBAC alone holds the agents: an agent may write every Node's annotations.",
            ("kubectl version    # plan an upgrade of the cluster",),
        )  # fmt: skip
    versions = {name: (version, numbers(version)) for name, version in schedulers(facts).items()}
    newer = {name for name, (_, minor) in versions.items() if minor is not None and minor > server}
    older = {
        name for name, (_, minor) in versions.items() if minor is not None and minor < (server[0], server[1] - 1)
    }
    for found, ident, severity, word in (
        (newer, "scheduler-newer", Severity.ERROR, "newer than"),
        (older, "scheduler-older", Severity.WARNING, "more than one minor version older than"),
    ):
        if found:
            spelled = ", ".join(sorted({versions[name][0] for name in found}))
            yield Finding(
                ident, TOPIC, severity,
                f"kube-scheduler {spelled} is {word} the API server {facts.server_version}.",
                "Kubernetes supports a kube-scheduler of the API server's minor version, or of the one before.",
                (upgrade(facts, "scheduler.image.tag=", "empty: the chart takes the cluster's version"),),
                **about(Kind.OBJECT, found),
            )  # fmt: skip


def summary(facts: Facts) -> list[tuple[str, str]]:
    """Every version that could be read, for reports: part and version."""
    server = facts.server_version if isinstance(facts.server_version, str) else ""
    rows = [("API server", server), *sorted(stated(facts).items()), ("plugin", facts.plugin_version)]
    rows += [("kube-scheduler", version) for version in sorted(set(schedulers(facts).values()))]
    return [(part, version) for part, version in rows if version]
