# SPDX-License-Identifier: Apache-2.0
"""Which programs make up the control plane, at which versions: read from the go.mod files, never repeated."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError

HERE: Final = Path(__file__).parent

ETCD: Final = "etcd"
KUBE_APISERVER: Final = "kube-apiserver"
KUBE_CONTROLLER_MANAGER: Final = "kube-controller-manager"
KUBE_SCHEDULER: Final = "kube-scheduler"
KUBECTL: Final = "kubectl"
HELM: Final = "helm"
HELM_DOCS: Final = "helm-docs"


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version | None:
    """The first ``X.Y.Z`` in ``text``, whatever surrounds it; None when there is none."""
    match = re.search(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)", text)
    return Version(*map(int, match.groups())) if match else None


@dataclass(frozen=True)
class Module:
    """A Go module of the lab: a folder with go.mod and go.sum, and the programs built from it."""

    name: str
    requires: str
    """Module path whose version is the programs' version."""
    packages: tuple[tuple[str, str], ...]
    """(program, Go package) pairs."""
    expected: str
    """How long a first build takes, for the progress line."""
    parent: Path = HERE
    """The folder that holds the module's own, which is called ``name``."""
    stamps: tuple[str, ...] = ()
    """What the linker writes into the programs, as ``VARIABLE=VALUE``; ``{version}``, ``{major}`` and ``{minor}``
    stand for those of the programs."""
    tags: str = ""
    """Go build tags. With ``tags``, C code is linked too (cgo), statically."""
    search: str = "PATH"
    """The environment variable that lists folders of programs at hand."""

    @property
    def folder(self) -> Path:
        return self.parent / self.name

    @property
    def version(self) -> Version:
        """Of the programs, as pinned in go.mod."""
        match = re.search(rf"^\s*{re.escape(self.requires)} (v\S+)", _text(self.folder / "go.mod"), re.MULTILINE)
        version = parse_version(match[1]) if match else None
        if version is None:
            raise LabError(
                f"{self.folder}/go.mod does not require {self.requires}; restore it from the repository"
            )
        return version

    @property
    def go_version(self) -> tuple[int, int]:
        """Lowest Go release that can build it."""
        match = re.search(r"^go (\d+)\.(\d+)", _text(self.folder / "go.mod"), re.MULTILINE)
        if match is None:
            raise LabError(f"{self.folder}/go.mod states no Go version; restore it from the repository")
        return int(match[1]), int(match[2])

    @property
    def digest(self) -> str:
        """Changes whenever anything pinned changes: the cache's key."""
        pinned = _text(self.folder / "go.mod") + _text(self.folder / "go.sum")
        return hashlib.sha256(pinned.encode()).hexdigest()[:16]

    @property
    def cache(self) -> Path:
        """Where its built programs are kept, outside the checkout."""
        return cache_root() / f"{self.name}-{self.digest}"


KUBERNETES_STAMPS: Final = (
    "k8s.io/component-base/version.gitVersion=v{version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
    "k8s.io/component-base/version.gitTreeState=clean",
)
"""kubectl and charts insist on Kubernetes' version, which a build from modules does not know by itself."""

KUBERNETES_MODULE: Final = Module(
    "kubernetes",
    "k8s.io/kubernetes",
    tuple(
        (name, f"k8s.io/kubernetes/cmd/{name}")
        for name in (KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KUBECTL)
    ),
    "about 10 minutes on two cores, once",
    stamps=KUBERNETES_STAMPS,
)
ETCD_MODULE: Final = Module(
    "etcd", "go.etcd.io/etcd/server/v3", ((ETCD, "go.etcd.io/etcd/server/v3"),), "about half a minute, once"
)
HELM_MODULE: Final = Module(
    "helm",
    "helm.sh/helm/v4",
    ((HELM, "helm.sh/helm/v4/cmd/helm"),),
    "about 2 minutes on two cores, once",
    stamps=("helm.sh/helm/v4/internal/version.version=v{version}",),
)
MODULES: Final = (ETCD_MODULE, KUBERNETES_MODULE)
"""What a lab runs."""
HELM_DOCS_MODULE: Final = Module(
    "helm-docs",
    "github.com/norwoodj/helm-docs",
    ((HELM_DOCS, "github.com/norwoodj/helm-docs/cmd/helm-docs"),),
    "about half a minute, once",
    stamps=("main.version={version}",),
)
"""Writes the chart's README."""
TOOLS: Final = (HELM_MODULE, HELM_DOCS_MODULE)
"""What tests use on it."""


def cache_root() -> Path:
    """``$XDG_CACHE_HOME/traffic-footprint/controlplane``, below ~/.cache by default."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "traffic-footprint" / "controlplane"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}; restore it from the repository") from error
