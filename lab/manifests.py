# SPDX-License-Identifier: Apache-2.0
"""Files made from others: ``python -m lab.manifests`` writes them, ``--check`` says which are out of date.

Enters: ``manifests/base`` (who may do what, policy, resource definition), the chart's templates and values.
Leaves: the chart's copies of the base and of the licence, the kustomize components (the chart as Helm renders it,
without what only Helm needs), and the chart's README, by helm-docs. Guarantees: the same input gives the same
bytes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.controlplane import build, pins
from lab.errors import LabError

CHECKOUT: Final = Path(__file__).parents[1]
CHART: Final = CHECKOUT / "helm" / "traffic-footprint"
BASE: Final = CHECKOUT / "manifests" / "base"
COPIED: Final = ("crd.yaml", "*-rbac.yaml", "*-policy.yaml")
RELEASE: Final = "traffic-footprint"
"""Name and namespace of the release that the components are rendered as."""

_LICENCE: Final = "# SPDX-License-Identifier: Apache-2.0\n"
_MADE: Final = _LICENCE + "# Made from the chart by `python -m lab.manifests`; change the chart.\n"
_SOURCE: Final = re.compile(rf"^---\n# Source: {RELEASE}/templates/(\S+)\n", re.MULTILINE)
_HELMS_OWN: Final = re.compile(
    r"^\s*(?:helm\.sh/[a-z-]+|app\.kubernetes\.io/managed-by):.*\n(?:\s*$\n)?", re.MULTILINE
)
_EMPTY_ANNOTATIONS: Final = re.compile(r"^  annotations:\n(?=\S|  labels|  [a-z]+:|spec|$)", re.MULTILINE)
_UNDOCUMENTED: Final = re.compile(r"^\| (\S+) \|.*\|\s+\|$", re.MULTILINE)

# Kustomize makes no certificates, and its overlays bring base, hooks and policies by themselves.
_COMMON: Final = (
    "certificates.mode=existing",
    f"certificates.existing.serverSecret={RELEASE}-extender-tls",
    f"certificates.existing.clientSecret={RELEASE}-scheduler-tls",
)


_APIS: Final = ("--api-versions=monitoring.coreos.com/v1",)
"""Of other projects, which components that need them name."""


@dataclass(frozen=True)
class Component:
    """A file under ``manifests/``: some templates, rendered with some values."""

    path: str
    templates: tuple[str, ...]
    values: tuple[str, ...] = ()


COMPONENTS: Final = (
    Component("components/nodeagent/nodeagent.yaml", ("nodeagent.yaml",)),
    Component("components/extender/extender.yaml", ("extender.yaml",)),
    Component("components/scheduler/scheduler.yaml", ("scheduler.yaml",)),
    Component(
        "components/networkpolicy/networkpolicy.yaml", ("networkpolicy.yaml",), ("networkPolicy.enabled=true",)
    ),
    Component(
        "overlays/existing-scheduler/snippet.yaml", ("existing-scheduler.yaml",), ("scheduler.enabled=false",)
    ),
    Component(
        "components/monitoring/monitoring.yaml",
        ("monitoring.yaml",),
        tuple(
            f"monitoring.{part}.enabled=true" for part in ("serviceMonitor", "podMonitor", "rules", "dashboards")
        ),
    ),
    Component(
        "components/rebalancing/rebalancing.yaml", ("rebalancing.yaml",), ("extender.settings.rebalance=act",)
    ),
    Component("cleanup/cleanup.yaml", ("cleanup.yaml",)),
)


def helm() -> Path:
    """The Helm program, built first when there is none. Raises LabError."""
    return build.ensure((pins.HELM_MODULE,))[pins.HELM].path


def render(*arguments: str, release: str = RELEASE, namespace: str = RELEASE) -> str:
    """What ``helm template`` prints for the pinned Kubernetes version. Raises LabError with Helm's own words."""
    argv = [
        str(helm()), "template", release, str(CHART), "--namespace", namespace,
        "--kube-version", f"v{pins.KUBERNETES_MODULE.version}", *arguments,
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise LabError(f"helm template failed: {done.stderr.strip()}")
    return done.stdout


def by_template(rendered: str) -> Iterator[tuple[str, str]]:
    """(template, YAML document) pairs in Helm's order."""
    parts = _SOURCE.split(rendered)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def without_helm(document: str) -> str:
    """A rendered document without labels and annotations that only mean something to Helm."""
    bare = _EMPTY_ANNOTATIONS.sub("", _HELMS_OWN.sub("", document))
    return re.sub(r"\n{2,}", "\n", bare).strip() + "\n"


def component(wanted: Component) -> str:
    """The text of one component's file."""
    rendered = render(*(f"--set={value}" for value in (*_COMMON, *wanted.values)), *_APIS)
    documents = [without_helm(text) for name, text in by_template(rendered) if name in wanted.templates]
    if not documents:
        raise LabError(f"no template of {wanted.templates} rendered anything for {wanted.path}")
    return _MADE + "---\n".join(documents)


def readme(chart: Path = CHART) -> str:
    """The chart's README: its template, with the table that helm-docs makes of values.yaml.

    Raises LabError with helm-docs' own words, and for values without a comment.
    """
    program = build.ensure((pins.HELM_DOCS_MODULE,))[pins.HELM_DOCS].path
    argv = [str(program), "--chart-search-root", str(chart), "--sort-values-order", "file", "--dry-run"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd=chart)
    if done.returncode or "level=info" not in done.stderr or "level=warn" in done.stderr:
        raise LabError(f"helm-docs cannot make the README of {chart}: {done.stderr.strip()}")
    if bare := _UNDOCUMENTED.findall(done.stdout):
        raise LabError(f"values.yaml: no comment that begins with `# --` is above {', '.join(bare)}")
    return done.stdout.strip() + "\n"


def outputs() -> dict[Path, str]:
    """Every made file and what it must contain. Raises LabError."""
    made = {CHART / "files" / "base" / file.name: file.read_text() for g in COPIED for file in BASE.glob(g)}
    # Rendering reads the copies.
    if all(path.exists() and path.read_text() == text for path, text in made.items()):
        made |= {CHECKOUT / "manifests" / one.path: component(one) for one in COMPONENTS}
    made[CHART / "README.md"] = readme()
    made[CHART / "LICENSE"] = (CHECKOUT / "LICENSE").read_text()
    return made


def stale() -> list[Path]:
    """Made files that do not contain what they must, and copies of what is gone."""
    made = outputs()
    copies = set((CHART / "files" / "base").glob("*.yaml")) - set(made)
    return sorted({path for path, text in made.items() if not path.exists() or path.read_text() != text} | copies)


def write() -> list[Path]:
    """Bring every made file up to date; which ones were not."""
    changed: list[Path] = []
    for _ in range(2):  # the components are rendered from the copies
        made = outputs()
        for path in stale():
            changed.append(path)
            if path in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(made[path])
            else:
                path.unlink()
    return changed


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 when ``--check`` finds something out of date."""
    parser = argparse.ArgumentParser(prog="python -m lab.manifests", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is out of date")
    options = parser.parse_args(argv)
    try:
        paths = stale() if options.check else write()
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(f"{'out of date' if options.check else 'written'}: {path.relative_to(CHECKOUT)}")
    return 1 if options.check and paths else 0


if __name__ == "__main__":
    sys.exit(main())
