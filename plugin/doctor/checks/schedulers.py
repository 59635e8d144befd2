# SPDX-License-Identifier: Apache-2.0
"""Which kube-schedulers are there, and do they name the extender?

Enters: their Deployments and pods, and the ConfigMaps that they mount. Leaves: what each is configured to do, and
findings. A configuration on a host's disk cannot be read from here, and is named.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from plugin.doctor.facts import (
    EXTENDER,
    SCHEDULER,
    Facts,
    Listing,
    Missing,
    items,
    of_component,
)
from plugin.doctor.finding import Finding, Severity
from plugin.doctor.names import namespace, thing
from plugin.doctor.objects import (
    Object,
    at,
    containers,
    flag,
    mapping,
    named,
    number,
    objects,
    spaced,
    text,
    texts,
)
from plugin.doctor.remedies import upgrade
from plugin.yaml_documents import load_one

TOPIC: Final = "schedulers"
KIND: Final = "KubeSchedulerConfiguration"
DEFAULT: Final = "default-scheduler"
_MANUAL: Final = "docs/how-to/use-an-existing-kube-scheduler.md"


@dataclass(frozen=True, slots=True)
class Mounted:
    """A file inside a container that is a key of an object of the API."""

    kind: str
    """``configMap`` or ``secret``; empty: the file is elsewhere, such as on the host."""
    name: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One kube-scheduler."""

    name: str
    """Of its Deployment or pod."""
    space: str
    own: bool
    """It is the release's."""
    spec: Object
    """Of its pods."""
    path: str
    """Of its configuration; empty: it has none."""
    config: Object | None = None
    source: str = ""
    """The ConfigMap that holds the configuration, as NAMESPACE/NAME."""

    @property
    def profiles(self) -> list[str]:
        """``schedulerName`` of each profile."""
        found = [text(one, "schedulerName") or DEFAULT for one in objects(self.config, "profiles")]
        return found or [DEFAULT]

    def file(self, path: str) -> Mounted:
        """Where a file of its container comes from."""
        return mounted(self.spec, path)


def running(facts: Facts) -> list[Scheduler]:
    """All kube-schedulers that can be seen: the release's, and the cluster's own."""
    found = [
        (one, at(one, "spec", "template", "spec"), True) for one in of_component(facts.deployments, SCHEDULER)
    ]
    found += [(one, at(one, "spec"), False) for one in items(facts.control_plane)]
    return [_scheduler(one, spec, own, facts) for one, spec, own in found if isinstance(spec, Mapping)]


def config_maps(found: Listing | Missing, control_plane: Listing | Missing) -> set[tuple[str, str]]:
    """Namespace and name of each ConfigMap that holds a kube-scheduler's configuration."""
    specs = [(spaced(one), at(one, "spec", "template", "spec")) for one in of_component(found, SCHEDULER)]
    specs += [(spaced(one), at(one, "spec")) for one in items(control_plane)]
    wanted = set()
    for space, spec in specs:
        file = mounted(spec, _path(spec))
        if file.kind == "configMap":
            wanted.add((space, file.name))
    return wanted


def _path(spec: object) -> str:
    return next((path for c in containers(spec) if (path := flag(c, "config"))), "")


def mounted(spec: object, path: str) -> Mounted:
    """What a path in the first container of a pod's ``spec`` is."""
    if not path:
        return Mounted("")
    for container in containers(spec):
        for mount in sorted(objects(container, "volumeMounts"), key=lambda m: -len(text(m, "mountPath"))):
            where, inside = text(mount, "mountPath").rstrip("/"), text(mount, "subPath")
            if path != where and not path.startswith(where + "/"):
                continue
            rest = posixpath.join(inside, path[len(where) + 1 :]) if path != where else inside
            volume = next((v for v in objects(spec, "volumes") if v.get("name") == mount.get("name")), {})
            return _in_volume(volume, rest)
    return Mounted("")


def _in_volume(volume: Object, file: str) -> Mounted:
    for kind, field in (("configMap", "name"), ("secret", "secretName")):
        if name := text(volume, kind, field):
            renamed = {text(one, "path"): text(one, "key") for one in objects(volume, kind, "items")}
            return Mounted(kind, name, renamed.get(file, file))
    return Mounted("")


def _scheduler(one: Object, spec: Object, own: bool, facts: Facts) -> Scheduler:
    path, space = _path(spec), spaced(one)
    bare = Scheduler(named(one), space, own, spec, path)
    file = bare.file(path)
    source = f"{space}/{file.name}"
    held = facts.configs.get(source)
    if file.kind != "configMap" or held is None or isinstance(held, Missing):
        return bare
    return Scheduler(bare.name, space, own, spec, path, _configuration(text(held, "data", file.key)), source)


def _configuration(said: str) -> Object | None:
    """A KubeSchedulerConfiguration; None for anything else."""
    try:
        found = load_one(said)
    except yaml.YAMLError:
        return None
    return found if isinstance(found, Mapping) and found.get("kind") == KIND else None


def addresses(facts: Facts) -> set[str]:
    """Hosts by which the extender may be named."""
    found = set[str]()
    # The chart's Service has its Deployment's name; that counts where Services may not be read.
    for one in (*of_component(facts.services, EXTENDER), *of_component(facts.deployments, EXTENDER)):
        name, space = named(one), spaced(one) or facts.release
        found |= {name, f"{name}.{space}", f"{name}.{space}.svc", f"{name}.{space}.svc.cluster.local"}
        found |= {text(one, "spec", "clusterIP"), *texts(one, "spec", "clusterIPs")}
    found |= {text(p, "status", "podIP") for p in of_component(facts.pods, EXTENDER)}
    return found - {"", "None"}


def ours(config: Object | None, facts: Facts) -> list[Object]:
    """Entries of a configuration that mean this release's extender."""
    hosts = addresses(facts)
    return [
        one for one in objects(config, "extenders")
        if {host(text(one, "urlPrefix")), text(one, "tlsConfig", "serverName")} & hosts
    ]  # fmt: skip


def host(url: str) -> str:
    """The host of a URL; empty where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def asking(facts: Facts) -> set[str]:
    """``schedulerName`` of every profile whose kube-scheduler names the extender."""
    return {name for one in running(facts) if ours(one.config, facts) for name in one.profiles}


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on kube-schedulers."""
    found = running(facts)
    for one in found:
        yield from _one(one, facts)
    yield from _not_ready(facts)
    if not found and isinstance(facts.control_plane, Listing) and isinstance(facts.deployments, Listing):
        yield Finding(
            "scheduler-unseen", TOPIC, Severity.NOTE,
            "No kube-scheduler can be seen from here.",
            "A managed control plane hides its own. Whether somebody asks is told by the extender's own figures.",
            (_MANUAL, upgrade(facts, "scheduler.enabled=true", "the chart's own, beside the cluster's")),
        )  # fmt: skip


def _one(one: Scheduler, facts: Facts) -> Iterator[Finding]:
    name = thing(one.name)
    if one.config is None:
        held = facts.configs.get(one.source)
        if isinstance(held, Missing):  # the topic ``rights`` tells
            return
        file = one.file(one.path)
        if not one.path:
            what = f"kube-scheduler {name} is started without --config, so it asks no extender."
            if not one.own:
                yield Finding(
                    "scheduler-asks-nobody", TOPIC, Severity.NOTE, what,
                    "Pods of its profiles are placed as without Traffic Footprint.",
                    (f"{_MANUAL}    # if it shall ask",),
                )  # fmt: skip
                return
            yield _wrong(one, what, facts)
        elif file.kind == "configMap":
            if isinstance(facts.configs.get(f"{one.space}/{file.name}"), Missing):
                return
            yield Finding(
                "scheduler-config-malformed", TOPIC, Severity.ERROR,
                f"ConfigMap {thing(file.name)} holds no {KIND} under {file.key[:60]}.",
                f"kube-scheduler {name} does not start with it.",
                (f"kubectl -n {namespace(one.space)} get configmap {thing(file.name)} -o yaml",),
            )  # fmt: skip
        else:
            where = thing(one.path[:120])
            yield Finding(
                "scheduler-config-on-host", TOPIC, Severity.NOTE,
                f"The configuration of kube-scheduler {name} is a file of its host, {where}.",
                "It cannot be looked at from here: whether it asks is told by the extender's own figures.",
                (f"grep -A 20 extenders: {where}    # on that host", f"{_MANUAL}    # what to find"),
            )  # fmt: skip
        return
    if not ours(one.config, facts):
        what = f"The configuration of kube-scheduler {name} does not name the extender."
        if one.own:
            yield _wrong(one, what, facts)
        else:
            yield Finding(
                "scheduler-asks-nobody", TOPIC, Severity.NOTE, what,
                "Pods of its profiles are placed as without Traffic Footprint.",
                (f"{_MANUAL}    # if it shall ask",),
            )  # fmt: skip


def _wrong(one: Scheduler, what: str, facts: Facts) -> Finding:
    space = namespace(facts.release)
    return Finding(
        "scheduler-asks-nobody", TOPIC, Severity.ERROR, what,
        "It is the release's own: its pods are placed as without Traffic Footprint.",
        (
            upgrade(facts),
            f"kubectl -n {space} get configmap -o yaml",
        ),
        (thing(one.name),), 1,
    )  # fmt: skip


def _not_ready(facts: Facts) -> Iterator[Finding]:
    for one in of_component(facts.deployments, SCHEDULER):
        said = at(one, "spec", "replicas")
        wanted = said if isinstance(said, int) else 1
        ready = number(one, "status", "readyReplicas")
        if ready < wanted:
            yield Finding(
                "scheduler-not-ready", TOPIC, Severity.WARNING if ready else Severity.ERROR,
                f"{wanted - ready} of {wanted} replicas of the release's kube-scheduler are not ready.",
                "Another replica places pods." if ready else "Pods that chose it wait until it is back.",
                (
                    f"kubectl -n {namespace(facts.release)} describe deployment {thing(named(one))}",
                    f"kubectl -n {namespace(facts.release)} logs deployment/{thing(named(one))} --tail 20",
                ),
                (thing(named(one)),), 1,
            )  # fmt: skip


def tls(entry: Object) -> Mapping[str, Any]:
    """An extender entry's TLS settings."""
    return mapping(entry, "tlsConfig")
