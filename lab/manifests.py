# SPDX-License-Identifier: Apache-2.0
"""Files made from others: ``python -m lab.manifests`` writes them, ``--check`` says which are out of date.

Enters: ``manifests/base`` (who may do what, policy, resource definition), the chart's templates and values.
Leaves: the chart's copies of the base, the kustomize components (the chart as Helm renders it, without what only
Helm needs), the table of values in the chart's README. Guarantees: the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

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
_TABLE: Final = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- end of values -->)", re.DOTALL)

# Kustomize makes no certificates, and its overlays bring base, hooks and policies by themselves.
_COMMON: Final = (
    "certificates.mode=existing",
    f"certificates.existing.serverSecret={RELEASE}-extender-tls",
    f"certificates.existing.clientSecret={RELEASE}-scheduler-tls",
)


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
    Component("cleanup/cleanup.yaml", ("cleanup.yaml",)),
)


def helm() -> Path:
    """The Helm program, built first when there is none. Raises LabError."""
    return build.ensure(pins.TOOLS)[pins.HELM].path


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
    rendered = render(*(f"--set={value}" for value in (*_COMMON, *wanted.values)))
    documents = [without_helm(text) for name, text in by_template(rendered) if name in wanted.templates]
    if not documents:
        raise LabError(f"no template of {wanted.templates} rendered anything for {wanted.path}")
    return _MADE + "---\n".join(documents)


@dataclass(frozen=True)
class Value:
    """A documented value: its path, default and comment."""

    path: str
    default: Any
    text: str


def documented(text: str) -> list[Value]:
    """The values of a values.yaml whose comments begin with ``# --``, in order. Raises LabError for a comment that
    belongs to none."""
    defaults = yaml.safe_load(text)
    found: list[Value] = []
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"\s*# -- (.*)", line):
            comment = [match[1]]
        elif comment and (match := re.match(r"\s*# (.*)", line)):
            comment.append(match[1])
        elif match := re.match(r"( *)([A-Za-z]+):", line):
            stack = [entry for entry in stack if entry[0] < len(match[1])] + [(len(match[1]), match[2])]
            if comment:
                path = [name for _, name in stack]
                found.append(Value(".".join(path), _at(defaults, path), " ".join(comment)))
                comment = []
    if comment:
        raise LabError(f"values.yaml: this comment belongs to no value: {' '.join(comment)}")
    return found


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = values
    for name in path:
        found = found[name]
    return found


def table(values: Sequence[Value]) -> str:
    """Markdown rows of all values."""
    rows = [f"| `{value.path}` | `{json.dumps(value.default)}` | {value.text} |" for value in values]
    return "\n".join(["| value | default | |", "|---|---|---|", *rows, ""])


def readme(text: str, values: str) -> str:
    """The chart's README with its table made anew."""
    if not _TABLE.search(text):
        raise LabError("the chart's README has lost its markers <!-- values --> and <!-- end of values -->")
    return _TABLE.sub(lambda _: "\n" + table(documented(values)) + "\n", text)


def outputs() -> dict[Path, str]:
    """Every made file and what it must contain. Raises LabError."""
    made = {CHART / "files" / "base" / file.name: file.read_text() for g in COPIED for file in BASE.glob(g)}
    # Rendering reads the copies.
    if all(path.exists() and path.read_text() == text for path, text in made.items()):
        made |= {CHECKOUT / "manifests" / one.path: component(one) for one in COMPONENTS}
    readme_path = CHART / "README.md"
    made[readme_path] = readme(readme_path.read_text(), (CHART / "values.yaml").read_text())
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
